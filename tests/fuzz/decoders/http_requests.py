# SPDX-License-Identifier: Apache-2.0
"""Requests to the exporter's port: an answer of HTTP, or the end; never an error of ours."""

import re
import socket
import time
from functools import partial
from pathlib import Path
from random import Random

from services.exporter.http import HttpServer
from services.exporter.pages import Pages
from services.exporter.snapshot import Snapshots
from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated

SEEDS = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /-/ready HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\nAccept: */*;q=0.1\r\n\r\n",
    b"GET /-/healthy?x=%41 HTTP/1.1\r\nHost: [::1]:1\r\nAccept-Encoding: br;q=1.0, gzip;q=0\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /metrics\r\n",
)
WORDS = (
    b"\r\n", b"\n", b"\r", b" ", b":", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/9999999999.1", b"HTTP/0.9",
    b"HTTP/1.",
    b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: keep-alive\r\n", b"Accept-Encoding: gzip;q=0.000,*\r\n", b"X: " + b"y" * 70000 + b"\r\n",
    b"A: b\r\n" * 150, b"\xff", b"\0", b"\x1b[31m", b"/../", b"http://x/", b"%00", b"GET", b"CONNECT",
    b"PRI * ",
)  # fmt: skip
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_ANSWER_S = 20.0
# "HTTP Version Not Supported" is the client's.
_OURS = {b"500", b"501", b"502", b"503"}


def make(chance: Random) -> bytes:
    """One more input."""
    return mutated(chance, SEEDS, WORDS)


def http_requests(_place: Path) -> Decoder:
    snapshots = Snapshots(lambda _inputs, _now_ns: b"wattline_up 1\n")
    server = HttpServer("127.0.0.1:0", Pages(snapshots, time.monotonic_ns).answer)
    server.start()
    host, port = server.address.rsplit(":", 1)

    def check(data: Input) -> None:
        assert isinstance(data, bytes)
        answer = _answer(host, int(port), data)
        errors = server.take_errors()
        if errors:
            raise BrokenPromiseError(f"the server's own errors: {errors}")
        if not server.alive:
            raise BrokenPromiseError("the server no longer accepts connections")
        status = _STATUS.match(answer)
        # HTTP/0.9 has an answer without a head; "not ready" is as it should be without frames.
        if status and status[1] in _OURS and b"Not ready: " not in answer and b"/-/ready" not in data:
            raise BrokenPromiseError(f"answered {answer[:100]!r}")

    fixed = [
        partial(bytes.__mul__, word, 100_000) for word in (b"a", b"\n", b"A: b\r\n", b"GET / HTTP/1.1\r\n")
    ]
    return Decoder(make, check, (), fixed, server.close)


def _answer(host: str, port: int, request: bytes) -> bytes:
    """All that comes back; a server may close before it has read everything."""
    answer = b""
    with socket.create_connection((host, port), _ANSWER_S) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise BrokenPromiseError(f"no answer in {_ANSWER_S} s") from None
    return answer
