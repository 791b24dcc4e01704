# SPDX-License-Identifier: Apache-2.0
"""How the redfish package's requests reach the BMC: a transport adapter of the requests package.

requests' own adapter limits the time between two bytes, not that of an answer; it reads bodies of any size,
unpacks them, and goes to other hosts. This one is bound to one host, one deadline and one size.
"""

import contextlib
import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from wattline.bounded_tls import BoundedSocket, Connections, Deadline, Place

from .address import HTTPS_PORT, Address
from .clock import Exchange
from .errors import Failed
from .resource import BYTES_MAX, own_path

_SENT = ("authorization", "content-length", "content-type", "odata-version", "x-auth-token")
_CHUNK_BYTES = 65536
_RETRY_AFTER_S_MAX = 86400
_REDIRECTIONS_MAX = 3
_CLOSING = "the source is being closed"


@dataclass(frozen=True)
class Answer:
    """What the BMC said, whole. `read` and `getheader` are as in the redfish package's answers."""

    status: int
    headers: http.client.HTTPMessage
    read: bytes

    def getheader(self, name: str) -> str | None:
        """A header by its name in any case."""
        return self.headers.get(name)


@dataclass(frozen=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    body: Any = None


class Transport:
    """One BMC's connection, kept for the requests of one round, or with `keeps` from round to round."""

    def __init__(
        self,
        address: Address,
        context: Callable[[], ssl.SSLContext],
        now_ns: Callable[[], int],
        known: Place | None = None,
        *,
        keeps: bool = False,
    ) -> None:
        """`context`: which certificates are accepted. `now_ns`: CLOCK_MONOTONIC. `known`: its place."""
        self._keeps = keeps
        self._address = address
        self._context = context
        self._now_ns = now_ns
        self._connections = Connections(address.host, address.port, known)
        self._wants_slash = False
        self._connection: http.client.HTTPConnection | None = None
        self._socket: BoundedSocket | None = None
        self._deadline = Deadline(0)
        self._is_stopped = False
        self.exchange = Exchange(0, 0)  # the newest

    def begin(self, limit_s: float) -> None:
        """Allow requests for so long."""
        self._deadline = Deadline(limit_s)

    def end(self) -> None:
        """Close the connection at the end of a round, unless it is kept."""
        if not self._keeps:
            self.close()

    def stop(self) -> None:
        """Let the request in progress, in another thread, end, and all later ones fail."""
        self._is_stopped = True

    def abort(self) -> None:
        """Make the request in progress, in another thread, and all later ones fail."""
        self.stop()
        self._connections.abort()

    def another(self) -> "Transport":
        """One to the same BMC that isn't stopped."""
        return Transport(self._address, self._context, self._now_ns, self._connections.known)

    def close(self) -> None:
        """Close the connection; the next request opens another. Also part of requests' protocol."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def send(self, request: Any, **_limits: Any) -> Any:
        """Send a request and return the whole answer, as requests wants it.

        What requests would limit and verify is done here instead. Raises Failed.
        """
        import requests  # noqa: PLC0415 an optional package, and heavy

        path = urlsplit(request.url).path  # never its host
        answer = self._sent(_Request(request.method, request.headers, request.body), path)
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(answer.headers.items())
        response.raw = io.BytesIO(answer.read)
        response.url, response.request = request.url, request
        return response

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """A resource, without requests in between: there more than half of a round's time is spent."""
        return self._sent(_Request("GET", headers), path)

    def _sent(self, request: _Request, path: str) -> Answer:
        if self._is_stopped:
            raise Failed(_CLOSING)
        try:
            return self._exchange(request, path)
        except Failed:
            self.close()
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            raise self._failed(error, path) from None

    def _failed(self, error: Exception, path: str) -> Failed:
        """What went wrong on the way, in words."""
        if self._is_stopped:
            return Failed(_CLOSING)
        if isinstance(error, TimeoutError):
            return Failed(f"no answer within {self._deadline.limit_s:g} s: {path}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return Failed(
                f"TLS: the certificate of {self._address.url} is refused: {error.verify_message}: have "
                "redfish.ca-file name the authority that has signed it, and redfish.url the host it is for"
            )
        if isinstance(error, ssl.SSLError):
            return Failed(f"TLS with {self._address.url} fails: {error.reason or 'no reason given'}")
        return Failed(f"{_words(error)}: {self._address.url}{path}")

    def _exchange(self, request: _Request, path: str) -> Answer:
        path += "/" * (self._wants_slash and request.method == "GET")
        for _redirection in range(_REDIRECTIONS_MAX + 1):
            answer = self._answer(request, path)
            body = self._body(answer, path)
            if answer.will_close:
                self.close()
            if not 300 <= answer.status < 400:  # noqa: PLR2004 the class of redirections
                return Answer(answer.status, answer.headers, body)
            path = self._other_path(request, path, answer)
        raise Failed(f"{path}: expected at most {_REDIRECTIONS_MAX} redirections, got more")

    def _other_path(self, request: _Request, path: str, answer: http.client.HTTPResponse) -> str:
        """Where a redirection leads to on this host. Raises Failed if it leads elsewhere."""
        place = urljoin(f"{self._address.url}{path}", answer.getheader("Location") or "")
        own = own_path(urlsplit(place).path)
        if request.method != "GET" or not own or not place.startswith(f"{self._address.url}/"):
            raise Failed(
                f"{path}: the BMC redirects to another place (HTTP {answer.status}), which isn't followed, "
                "since that would get the password: set redfish.url to it if it is the BMC",
                status=answer.status,
            )
        if not urlsplit(place).path.endswith("/"):
            return own
        self._wants_slash = self._wants_slash or own == path
        return f"{own}/"

    def _answer(self, request: _Request, path: str) -> http.client.HTTPResponse:
        is_kept = self._connection is not None
        try:
            return self._ask(request, path)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            # The BMC has closed the connection between two requests.
            if not is_kept or request.method == "POST":
                raise
            return self._ask(request, path)

    def _ask(self, request: _Request, path: str) -> http.client.HTTPResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() in _SENT}
        headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address.host, self._address.port)
            self._connection.default_port = HTTPS_PORT  # for the Host header
            self._connection.auto_open = 0
            self._socket = self._connections.open(self._context(), self._deadline)
            self._connection.sock = self._socket
        if self._socket is not None:
            self._socket.deadline = self._deadline  # this round's
        sent_ns = self._now_ns()
        self._connection.request(request.method, path, body=request.body, headers=headers)
        answer = self._connection.getresponse()
        self.exchange = Exchange(sent_ns, self._now_ns(), date_ns(answer.getheader("Date") or ""))
        return answer

    def _body(self, answer: http.client.HTTPResponse, path: str) -> bytes:
        """The whole body. Raises Failed if it has more bytes than a resource can have."""
        if answer.getheader("Content-Encoding", "identity").lower() != "identity":
            raise Failed(f"{path}: expected plain JSON, got a compressed answer")
        parts, size = [], 0
        while part := answer.read(_CHUNK_BYTES):
            size += len(part)
            if size > BYTES_MAX:
                raise Failed(f"{path}: expected at most {BYTES_MAX} bytes, got more")
            parts.append(part)
        return b"".join(parts)


def date_ns(text: str) -> int | None:
    """A Date header in ns since 1970; None for anything else."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        read = parsedate_to_datetime(text)
        if read.tzinfo is not None:
            seconds = int(read.timestamp())
            return seconds * 1_000_000_000 if 0 <= seconds < 2**33 else None
    return None


def retry_after_s(text: str, date: str) -> int:
    """A Retry-After header (RFC 9110, section 10.2.3) in seconds, at most a day; 0 for anything else.

    `date`: the answer's Date, by whose clock a Retry-After that is a time is meant.
    """
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _RETRY_AFTER_S_MAX)
    at_ns, now_ns = date_ns(text), date_ns(date)
    if at_ns is None or now_ns is None:
        return 0
    return max(0, min((at_ns - now_ns) // 1_000_000_000, _RETRY_AFTER_S_MAX))


def _words(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host's name has no address ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: the BMC's web server isn't running"
    if isinstance(error, http.client.HTTPException):
        return f"no proper HTTP answer ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
