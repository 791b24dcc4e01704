# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in a thread, for few and small requests, that no slow or greedy client can hold up.

One thread per connection, one request per connection. A connection that takes too long is cut; when there
are too many, the oldest is.
"""

import contextlib
import errno
import resource
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple, Protocol

from wattline import __version__
from wattline.errors import Fatal

from .settings import parse_listen_address

PLAIN_TEXT = "text/plain; charset=utf-8"
CONNECTIONS_MAX = 32
# One wait for bytes of a request; also the whole sending of an answer (socket.sendall counts it as one).
_WAIT_S = 10.0
CONNECTION_S_MAX = 30.0
_POLL_S = 1.0  # how often to look for connections that take too long
_ERRORS_KEPT_MAX = 100
_STARVED_PAUSE_S = 0.05  # without a descriptor, until the next attempt to accept a connection
# What accept(2) fails with where a later attempt may succeed.
_STARVED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Response(NamedTuple):
    """What a request gets."""

    status: int
    body: bytes
    content_type: str = PLAIN_TEXT
    headers: Mapping[str, str] = {}


class Answer(Protocol):
    """Makes responses; called from many threads."""

    def __call__(self, path: str, *, gzip_accepted: bool) -> Response:
        """The response for a path, which is without its query."""


class HttpServer:
    """Listens from its making on; answers once started, until closed."""

    def __init__(
        self, listen_address: str, answer: Answer, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises Fatal if the address is malformed, taken, not ours or not allowed."""
        family, address = _resolve(listen_address)
        try:
            self._server = _Server(family, address, answer, now_s)
        except OSError as error:
            raise Fatal(
                f"cannot listen on {listen_address}: {error.strerror or error}; is another exporter running? "
                "Choose another address with --web.listen-address",
                Fatal.PERMISSION if isinstance(error, PermissionError) else Fatal.FAILED,
            ) from None
        host, port = self._server.socket.getsockname()[:2]
        self.address = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="http", daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether connections are still being accepted."""
        return self._thread.is_alive()

    @property
    def responses(self) -> dict[int, int]:
        """How many answers of each status code."""
        return dict(self._server.responses)

    @property
    def cut_off(self) -> int:
        """How many connections took too long or were too many."""
        return self._server.cut_off

    def take_starved(self) -> str:
        """Why connections could not be accepted since the last call; empty if all could."""
        starved, self._server.starved = self._server.starved, ""
        return starved

    def take_errors(self) -> list[str]:
        """What went wrong on our side since the last call."""
        errors = self._server.errors
        return [errors.popleft() for _number in range(len(errors))]

    def close(self) -> None:
        """Stop listening and cut all connections."""
        if self._thread.is_alive():
            with contextlib.suppress(
                OSError
            ):  # it wakes who waits for connections, who then sees the order to stop
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.shutdown()
            self._thread.join()
        self._server.cut_all()
        self._server.server_close()


def _resolve(listen_address: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """(address family, address as bind wants it). No host means every address, IPv4's as well as IPv6's."""
    host, port = parse_listen_address(listen_address)
    if not host:
        if socket.has_dualstack_ipv6():
            return socket.AF_INET6, ("::", port)
        return socket.AF_INET, ("0.0.0.0", port)  # noqa: S104 asked for by giving no host
    try:
        family, _type, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise Fatal(
            f"setting web.listen-address: {listen_address!r:.80}: {host!r:.80} is no address of this machine "
            f"({error})",
            Fatal.SETTINGS,
        ) from None
    return family, address


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        answer: Answer,
        now_s: Callable[[], float],
    ) -> None:
        self.address_family = family
        self.answer = answer
        self.responses: Counter[int] = Counter()
        self.cut_off = 0
        self.starved = ""
        self._closing = threading.Event()
        self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT_MAX)
        self._now_s = now_s
        self._open: dict[socket.socket, float] = {}  # by when they must end, oldest first
        self._opening = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.server_address[0] != "::")
        # Not HTTPServer's, which looks up the host's name and may hang in that for seconds.
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Without a descriptor for it, cut the oldest one and pause.

        The waiting connection keeps the listening socket readable: without a pause the caller would spin.
        """
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _STARVED:
                limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                self.starved = (
                    f"no connection can be accepted: {error.strerror}; the limit is {limit} open files"
                )
                with self._opening:
                    if self._open:
                        self._cut(next(iter(self._open)))
                self._closing.wait(_STARVED_PAUSE_S)
            raise

    def shutdown(self) -> None:
        """Have serve_forever return, and wait for that."""
        self._closing.set()
        super().shutdown()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread, after making room for it."""
        with self._opening:
            while len(self._open) >= CONNECTIONS_MAX:
                self._cut(next(iter(self._open)))
            self._open[request] = self._now_s() + CONNECTION_S_MAX
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection's thread is done with it."""
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by serve_forever after each wait: cut what has taken too long."""
        now_s = self._now_s()
        with self._opening:
            for connection in [request for request, end_s in self._open.items() if end_s <= now_s]:
                self._cut(connection)

    def cut_all(self) -> None:
        """Cut every connection."""
        with self._opening:
            for connection in list(self._open):
                self._cut(connection)

    def _cut(self, connection: socket.socket) -> None:
        """End a connection from outside its thread, which then finds it ended and goes."""
        del self._open[connection]
        self.cut_off += 1
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def count(self, status: int) -> None:
        """Count an answer."""
        with self._opening:
            self.responses[status] += 1

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 the base class's own
        """A client that left amid its request is its own business; anything else is ours."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.errors.append(f"{type(error).__name__}: {error}")


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = _WAIT_S
    server_version = f"wattline/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with what the path has."""
        try:
            response = self.server.answer(
                self.path.partition("?")[0],
                gzip_accepted=accepts_gzip(self.headers.get("Accept-Encoding", "")),
            )
        except Exception as error:  # noqa: BLE001 once, around one request: it must not look like no data
            self.server.errors.append(f"{type(error).__name__}: {error} (asked for {self.path!r:.80})")
            response = Response(500, b"500 this is a bug of the exporter; its log has the cause\n")
        self._send(response)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Called for what is no request to the base class; another method than ours is one such case."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refusal = Response(
                405, b"405 only GET and HEAD are possible here\n", headers={"Allow": "GET, HEAD"}
            )
        else:
            # Not the message: it repeats what the client sent.
            refusal = Response(code, f"{code} {HTTPStatus(code).phrase}\n".encode())
        self._send(refusal)

    def _send(self, response: Response) -> None:
        self.server.count(response.status)
        self.send_response(response.status)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "X-Content-Type-Options": "nosniff",
            **response.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's own name
        """Print nothing: what clients do is in the counts."""


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header's value allows gzip. Source: RFC 9110, 12.5.3."""
    for item in accept_encoding.lower().split(","):
        coding, _semicolon, parameters = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            weight = parameters.replace(" ", "").removeprefix("q=")
            return not (weight and weight.strip("0.") == "")
    return False
