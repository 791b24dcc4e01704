# SPDX-License-Identifier: Apache-2.0
"""Docker's answers: names of the containers that were asked for, or one of two errors."""

import json
import time
from functools import partial
from pathlib import Path
from random import Random

from services.metadata.docker import BadAnswerError, DockerSocket
from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from tests.metadata.engine import FakeEngine, http
from wattline.errors import Retry

A, B = "a1" * 32, "b2" * 32
BODIES = (
    json.dumps([{"Id": A, "Names": ["/web_1"]}, {"Id": B, "Names": ["/web_1/alias", "/db"], "Ports": []}]),
    json.dumps([{"Id": A, "Names": None, "Labels": {"a": "b"}, "Created": 1_700_000_000}]),
    "[]",
    "null",
    json.dumps([{"Id": A, "Names": ["/\u202e\x1b[31m", "/" + "x" * 300]}]),
)
SEEDS = (*(http(body.encode()) for body in BODIES), http(b'{"message": "no"}', "500 Internal Server Error"))
WORDS = (
    b"\r\n\r\n", b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked\r\n", b'"Id":', b'"Names":', b"[", b"]",
    b"{", b"}",
    b"null", b"true", b"1e999", b'"\\ud800"', b'"\\u0000"', b"[" * 2000, b'{"Id":' * 500, b"\xff", b'""',
    A.encode(),
)  # fmt: skip
_ANSWER_BYTES = 3_900_000


def make(chance: Random) -> bytes:
    """One more input."""
    return mutated(chance, SEEDS, WORDS)


def many(item: bytes) -> bytes:
    """An answer with as many of an item as there may be."""
    return http(b"[" + b",".join([item] * (_ANSWER_BYTES // (len(item) + 1))) + b"]")


def docker_answers(place: Path) -> Decoder:
    engine = FakeEngine(place / "docker.sock")
    engine.__enter__()
    docker = DockerSocket(str(engine.path))

    def check(data: Input) -> None:
        assert isinstance(data, bytes)
        engine.answer = data
        engine.asked.clear()
        names = docker.names([A, B], time.monotonic() + 30)
        if any("/" in name for name in names.values()):
            raise BrokenPromiseError(f"a name with a slash: {names}")

    fixed = [partial(many, item) for item in (b'{"Id":""}', b'{"Id":"a","Names":["/b"]}', b"{}", b"[]", b"1")]
    fixed += [partial(many, b'{"Id":"a","Names":[' + b'"",' * 900_000 + b'""]}'), lambda: b"x" * 5_000_000]
    return Decoder(make, check, (Retry, BadAnswerError), fixed, lambda: engine.__exit__(None, None, None))
