# SPDX-License-Identifier: Apache-2.0
"""A TCP relay on loopback that counts what goes through it, and can end or refuse connections.

What is in it is TLS: the relay sees lengths only, and the client verifies the real server's certificate.
"""

import contextlib
import selectors
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

_CHUNK_BYTES = 65536
_POLL_S = 0.05


class TcpRelay:
    """`with TcpRelay(url) as relay`: `relay.url` leads to `url`. Both counts of bytes are since the start."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        self.from_server_bytes = self.to_server_bytes = self.connections = 0
        self._is_open = True
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        self.cut()
        self._selector.close()
        self._listener.close()

    def cut(self) -> None:
        """End all connections as they are."""
        with self._lock:
            for end in list(self._pairs):
                self._drop(end)

    def refuse(self) -> None:
        """End all connections, and each new one at once, until `accept`."""
        self._is_open = False
        self.cut()

    def accept(self) -> None:
        """Let new connections through."""
        self._is_open = True

    def _run(self) -> None:
        while not self._is_over.is_set():
            for key, _events in self._selector.select(_POLL_S):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._connect()
                    elif key.fileobj in self._pairs:
                        self._pass_on(key.fileobj)

    def _connect(self) -> None:
        client, _address = self._listener.accept()
        if not self._is_open:
            client.close()
            return
        try:
            server = socket.create_connection(self._to, timeout=5)
        except OSError:
            client.close()
            return
        self.connections += 1
        self._pairs |= {client: server, server: client}
        client.settimeout(20)
        server.settimeout(20)
        self._selector.register(client, selectors.EVENT_READ, "to")
        self._selector.register(server, selectors.EVENT_READ, "from")

    def _pass_on(self, end: socket.socket) -> None:
        other = self._pairs[end]
        try:
            data = end.recv(_CHUNK_BYTES)
            other.sendall(data)
        except OSError:
            data = b""
        if self._selector.get_key(end).data == "to":
            self.to_server_bytes += len(data)
        else:
            self.from_server_bytes += len(data)
        if not data:
            self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for one in (end, other):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one)
            one.close()
