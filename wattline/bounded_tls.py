# SPDX-License-Identifier: Apache-2.0
"""TLS connections with a deadline for everything, which another thread can end.

For sources that ask a server on the network, in a thread of their own.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# As socket.getaddrinfo has them.
Place = tuple[int, int, int, str, Any]


class Deadline:
    """A point in time by which all requests that share it must be over."""

    def __init__(self, limit_s: float) -> None:
        self._at_s = time.monotonic() + limit_s
        self.limit_s = limit_s

    def left_s(self) -> float:
        """Seconds left. Raises TimeoutError if there are none."""
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class BoundedSocket(ssl.SSLSocket):
    """A TLS socket whose reads and writes all end at `deadline`; a timeout begins anew with each byte."""

    deadline: Deadline | None = None

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        """Receive, as long as there is time."""
        self._limit()
        return super().recv_into(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:
        """Send, as long as there is time."""
        self._limit()
        return super().send(*arguments, **named)

    def _limit(self) -> None:
        if self.deadline is not None:
            self.settimeout(self.deadline.left_s())


class Trust:
    """Which certificates are accepted: of the system's authorities, or only those that `ca_file` has.

    The file is read again when it has changed, so that a new certificate needs no restart.
    """

    def __init__(
        self, ca_file: str, *, verify: bool, setting: str, failed: Callable[[str], Exception]
    ) -> None:
        """`setting`: what names the file. `failed`: makes the error that a file of no use raises."""
        self._ca_file = ca_file
        self._verify = verify
        self._setting = setting
        self._failed = failed
        self._read: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """For one connection. Raises what `failed` makes if the file can't be used."""
        try:
            status = Path(self._ca_file).stat() if self._ca_file else None
            version = (status.st_mtime_ns, status.st_size, status.st_ino) if status else ()
            if self._read is None or self._read[0] != version:
                self._read = version, tls_context(self._ca_file, verify=self._verify)
        except OSError as error:
            words = "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise self._failed(f"{self._setting} {self._ca_file}: {words}") from None
        return self._read[1]


def tls_context(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """What certificates are accepted: of the system's authorities, or only those that `ca_file` has.

    Raises OSError (also as ssl.SSLError) if the file can't be used.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.sslsocket_class = BoundedSocket
    if ca_file:
        # A certificate that signs itself, or one of an authority below the root, may be trusted as such.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Firmware, kubelets and older clusters make certificates without some extensions.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Connections:
    """Opens one connection at a time; `abort`, from any thread, ends it and forbids more."""

    def __init__(self, host: str, port: int, known: Place | None = None, server_name: str = "") -> None:
        """`known`: where the host is, so that no name has to be looked up.

        `server_name`: whom the certificate must be for; empty: `host`.
        """
        self._host = host
        self._port = port
        self._server_name = server_name or host
        self.known = known
        self._is_handed_on = known is not None
        self._lock = threading.Lock()
        self._open: socket.socket | None = None
        self._is_aborted = False

    def open(self, context: ssl.SSLContext, deadline: Deadline) -> BoundedSocket:
        """A connection whose peer has shown its certificate. Raises OSError."""
        plain = self._connected(deadline)
        try:
            secure = context.wrap_socket(
                plain, server_hostname=self._server_name, do_handshake_on_connect=False
            )
        except BaseException:
            plain.close()
            raise
        assert isinstance(secure, BoundedSocket)
        try:
            self._note(secure)
            secure.settimeout(deadline.left_s())
            secure.do_handshake()
        except BaseException:
            secure.close()
            raise
        return secure

    def abort(self) -> None:
        """End the open connection, also one that is being made; all later ones fail."""
        with self._lock:
            self._is_aborted = True
            if self._open is not None:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own shutdown: that takes away what the other thread is reading with.
                    socket.socket.shutdown(self._open, socket.SHUT_RDWR)

    def _note(self, opened: socket.socket) -> None:
        with self._lock:
            if self._is_aborted:
                raise ConnectionAbortedError("the source is being closed")
            self._open = opened

    def _places(self) -> Sequence[Place]:
        """Where the host may be. A look-up that hangs can't be ended: the C library does it."""
        if self._is_handed_on:
            assert self.known is not None
            return [self.known]
        return socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)

    def _connected(self, deadline: Deadline) -> socket.socket:
        last: OSError | None = None
        for found in self._places():
            family, kind, protocol, _name, place = found
            one = socket.socket(family, kind, protocol)
            try:
                self._note(one)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one.settimeout(deadline.left_s())
                one.connect(place)
            except OSError as error:
                one.close()
                last = error
                if isinstance(error, TimeoutError | ConnectionAbortedError):
                    break
            except BaseException:
                one.close()
                raise
            else:
                self.known = found
                return one
        raise last or OSError("there is no address to connect to")
