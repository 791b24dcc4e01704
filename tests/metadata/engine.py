# SPDX-License-Identifier: Apache-2.0
"""What answers at a socket as a Docker Engine would, or as one that fails."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[socket.socket], None]


def http(body: bytes, status: str = "200 OK") -> bytes:
    """An answer as the engine writes it."""
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n".encode() + body


class FakeEngine:
    """`with FakeEngine(path)`: knows `containers`, names by id; `answer`, or what writes one, stands in.

    `asked` has the container ids of each question; None where it was only seen whether it answers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.containers: dict[str, list[str]] = {}
        self.asked: list[list[str] | None] = []
        self.answer: bytes | Answer | None = None

    def __enter__(self) -> Self:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(65536)
                answer = self._answer(request.split()[1].decode())
                answer(connection) if callable(answer) else connection.sendall(answer)

    def _answer(self, target: str) -> bytes | Answer:
        url = urlsplit(target)
        query = parse_qs(url.query)
        wanted = json.loads(query["filters"][0])["id"]
        wanted = None if wanted == ["0" * 64] else wanted
        self.asked.append(wanted)
        if self.answer is not None:
            return self.answer
        assert url.path == "/containers/json"
        assert query["all"] == ["1"]
        found = [
            {"Id": key, "Names": names, "Image": "x", "State": "running"}
            for key, names in self.containers.items()
            if key in (wanted or ())
        ]
        return http(json.dumps(found).encode())
