# SPDX-License-Identifier: Apache-2.0
"""What answers at a socket as a Docker Engine would, or as one that fails."""

import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit


class FakeEngine:
    """`with FakeEngine(path)`: knows `containers`, names by id; `answer` (status, bytes) stands in for it.

    `asked` has what was asked for: container ids of each question, None for whether it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.containers: dict[str, list[str]] = {}
        self.asked: list[list[str] | None] = []
        self.answer: tuple[int, bytes] | None = None
        self.silent_s = 0.0

    def __enter__(self) -> Self:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = engine.reply(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """A Unix socket's peer has no address to log."""

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply(self, target: str) -> tuple[int, bytes]:
        """Status and body for a request's target."""
        url = urlsplit(target)
        query = parse_qs(url.query)
        wanted = json.loads(query["filters"][0])["id"] if "filters" in query else None
        self.asked.append(wanted)
        time.sleep(self.silent_s)
        if self.answer is not None:
            return self.answer
        if url.path == "/_ping":
            return 200, b"OK"
        assert url.path == "/containers/json"
        assert query["all"] == ["1"]
        found = [
            {"Id": key, "Names": names, "Image": "x", "State": "running"}
            for key, names in self.containers.items()
            if key in wanted
        ]
        return 200, json.dumps(found).encode()
