# SPDX-License-Identifier: Apache-2.0
"""An HTTP server over TLS whose connections can be ended."""

import contextlib
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


class Served(Protocol):
    """What it serves. `context`: the certificate that is shown now. `connections`: so many so far."""

    context: ssl.SSLContext
    connections: int


class TlsServer(ThreadingHTTPServer):
    """One thread a connection. Its handlers find what is served as `self.server.served`."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, place: tuple[str, int], handler: type[BaseHTTPRequestHandler], served: Served):
        self.served: Any = served
        self._open: set[ssl.SSLSocket] = set()
        super().__init__(place, handler)

    def finish_request(self, request, client_address):
        request.settimeout(10)
        with (
            contextlib.suppress(OSError),
            self.served.context.wrap_socket(request, server_side=True) as secure,
        ):
            self._open.add(secure)
            self.served.connections += 1
            try:
                super().finish_request(secure, client_address)
            finally:
                self._open.discard(secure)

    def end_connections(self):
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(2)

    def handle_error(self, request, client_address):
        """A client that has gone is no error."""
