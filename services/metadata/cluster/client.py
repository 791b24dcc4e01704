# SPDX-License-Identifier: Apache-2.0
"""Requests to one server of a cluster: bounded in time and size, and ended from any thread.

urllib3's own limits are those between two bytes, it goes where it is redirected to, and it can't be
interrupted. So each connection is opened by wattline.bounded_tls and nothing is followed. A request is sent
again only if the server has closed a kept connection before it.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from wattline import __version__
from wattline.bounded_tls import BoundedSocket, Connections, Deadline

from . import package
from .access import Server
from .errors import REFUSED, TOO_LARGE, Expired, Failed, Silent
from .lines import Lines
from .reasons import cause_of, is_cut, is_timeout, retry_after_s, words_of

BODY_BYTES_MAX = 32 << 20
_CHUNK_BYTES = 65536
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 200, 401, 403, 404, 410
_BUSY = (429, 503)
_CLOSING = "the source is being closed"
# A peer that has gone without a word is found within 15 + 4 × 5 s (man 7 tcp).
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True)
class Limits:
    """Seconds for a whole answer or the beginning of a watch, between events of a watch, for a watch."""

    answer_s: float = 20.0
    silence_s: float = 90.0
    watch_s: float = 300.0


class Client:
    """Asks one server, in one thread. `abort` may come from any."""

    def __init__(self, server: Callable[[], Server], limits: Limits) -> None:
        """`server`: where to ask, as it is now."""
        self._find = server
        self._limits = limits
        self._server: Server | None = None
        self._pools: Any = None
        self._connections: Connections | None = None
        self._socket: BoundedSocket | None = None
        self._deadline = Deadline(0)
        self._opened = 0
        self._is_aborted = False

    @property
    def unverified(self) -> str:
        """What is to be said of a certificate that isn't verified; empty if it is."""
        return self._server.unverified if self._server is not None else ""

    def get(self, path: str, query: Mapping[str, str], right: str) -> bytearray:
        """A whole answer. `right`: what a refusal lacks. Raises Expired and Failed."""
        with self._asked(path, query, right, self._limits.answer_s) as answer:
            body = bytearray()
            while part := answer.read1(_CHUNK_BYTES, decode_content=False):
                body += part
                if len(body) > BODY_BYTES_MAX:
                    raise Failed(
                        f"expected an answer of at most {BODY_BYTES_MAX} bytes, got more: {path}",
                        event=TOO_LARGE,
                    )
            return body

    def watch(self, path: str, query: Mapping[str, str], right: str) -> Generator[bytes | None, None, None]:
        """Lines as they come, None for one that is too long, until the server ends them; first an empty one.

        The first says that the server has accepted. Raises Expired, Silent and Failed.
        """
        in_all = Deadline(self._limits.watch_s + self._limits.answer_s)
        with self._asked(path, query, right, self._limits.answer_s) as answer:
            yield b""
            lines = Lines()
            while not lines.is_over:
                try:
                    left_s = in_all.left_s()
                except TimeoutError:
                    return
                if self._socket is not None:
                    self._socket.deadline = Deadline(min(self._limits.silence_s, left_s))
                yield from self._more(answer, lines)

    def abort(self) -> None:
        """Make the request in progress, in another thread, and all later ones fail."""
        self._is_aborted = True
        connections = self._connections
        if connections is not None:
            connections.abort()

    def close(self) -> None:
        """Close kept connections."""
        if self._pools is not None:
            self._pools.clear()

    def _more(self, answer: Any, lines: Lines) -> list[bytes | None]:
        """At least one whole line, unless the server ends. Raises Silent if none comes in time."""
        while True:
            try:
                part = answer.read1(_CHUNK_BYTES, decode_content=False)
            except Exception as error:
                if is_timeout(error) and not self._is_aborted:
                    raise Silent from None
                raise
            found = lines.take(part)
            if found or lines.is_over:
                return found

    @contextlib.contextmanager
    def _asked(self, path: str, query: Mapping[str, str], right: str, limit_s: float) -> Iterator[Any]:
        """An answer with status 200, whose body is yet to be read."""
        self._deadline = Deadline(limit_s)
        answer = None
        is_whole = False
        try:
            server = self._ready()
            answer = self._send(server, path, query)
            self._require_ok(server, answer, path, right)
            yield answer
            is_whole = True
        except (Failed, Expired, Silent):
            raise
        except Exception as error:  # noqa: BLE001 of urllib3, HTTP, TLS and sockets
            raise self._failure(error, path) from None
        finally:
            if answer is not None and not is_whole:
                answer.close()

    def _ready(self) -> Server:
        """The server as it is now; another address or trust means new connections."""
        if self._is_aborted:
            raise Failed(_CLOSING)
        server = self._find()
        before, self._server = self._server, server
        if before is None or (before.host, before.port, before.context) != (
            server.host,
            server.port,
            server.context,
        ):
            self.close()
            self._connections = Connections(server.host, server.port, server_name=server.server_name)
            self._pools = _pools(self._connect)
            if self._is_aborted:  # in the meantime, by another thread that saw no connections
                raise Failed(_CLOSING)
        return server

    def _connect(self) -> BoundedSocket:
        assert self._connections is not None
        assert self._server is not None
        opened = self._connections.open(self._server.context, self._deadline)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
        opened.deadline = self._deadline
        self._socket = opened
        self._opened += 1
        return opened

    def _send(self, server: Server, path: str, query: Mapping[str, str]) -> Any:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"wattline/{__version__}",
        }
        if server.authorization:
            headers["Authorization"] = server.authorization
        url = f"{server.url}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        for is_last in (False, True):
            opened = self._opened
            if self._socket is not None:
                self._socket.deadline = self._deadline
            try:
                return self._pools.request(
                    "GET",
                    url,
                    headers=headers,
                    preload_content=False,
                    redirect=False,
                    retries=False,
                    timeout=None,
                )
            except Exception as error:
                # The server has closed the connection between two requests.
                if is_last or opened != self._opened or not is_cut(error):
                    raise
        raise AssertionError

    def _require_ok(self, server: Server, answer: Any, path: str, right: str) -> None:
        status: int = answer.status
        if status == _OK:
            return
        if status == _GONE:
            raise Expired
        if status == _UNAUTHORIZED:
            words = f"{server.what} refuses the token of {server.account}: is it still valid?"
            if not server.authorization:
                words = f"{server.what} wants a token, and {server.account} has none"
        elif status == _FORBIDDEN:
            words = f"{server.account} lacks a right: {right}"
        elif status == _NOT_FOUND:
            words = f"{server.what} has no such path: is {server.url} its address?"
        elif status in _BUSY or status >= 500:  # noqa: PLR2004 the class of the server's errors
            words = f"{server.what} can't answer now"
        elif 300 <= status < 400:  # noqa: PLR2004 the class of redirections
            words = f"{server.what} redirects elsewhere, which isn't followed: that would get the token"
        else:
            words = "unexpected"
        wait_s = retry_after_s(answer.headers.get("Retry-After") or "") if status in _BUSY else 0
        raise Failed(f"HTTP {status}: {words}: {path}", status, REFUSED, wait_s)

    def _failure(self, error: Exception, path: str) -> Failed:
        """What went wrong on the way, in words."""
        cause = cause_of(error)
        server = self._server
        if self._is_aborted or server is None:
            return Failed(_CLOSING if self._is_aborted else f"unexpected {type(cause).__name__}")
        if is_timeout(cause):
            return Failed(f"no answer within {self._deadline.limit_s:g} s: {server.url}{path}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failed(
                f"TLS: the certificate of {server.what} ({server.url}) is refused: {cause.verify_message}: "
                f"{server.tls_cure}"
            )
        if isinstance(cause, ssl.SSLError):
            return Failed(f"TLS with {server.url} fails: {cause.reason or 'no reason given'}")
        return Failed(f"{words_of(cause, server)}: {server.url}{path}")


def _pools(connect: Callable[[], BoundedSocket]) -> Any:
    """The package's connection pools, whose connections are opened by `connect`."""
    pools = package.pools()
    plain = pools.pool_classes_by_scheme["https"]

    class Connection(plain.ConnectionCls):  # type: ignore[misc, name-defined]
        def connect(self) -> None:
            self.sock = connect()
            self.is_verified = True  # or that it isn't was said (Server.unverified)

    class Pool(plain):  # type: ignore[misc, valid-type]
        ConnectionCls = Connection

    pools.pool_classes_by_scheme = {"https": Pool}
    return pools
