# SPDX-License-Identifier: Apache-2.0
"""Recordings: whatever is in the file, frames and then the end, or Fatal with the byte that is wrong."""

import struct
import zlib
from pathlib import Path
from random import Random

from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from tests.fuzz.structure import restructured
from wattline.errors import Fatal
from wattline.wire.recorded import RecordedFrames
from wattline.wire.recording import MAGIC, RecordingReader

from .frames import SEEDS, VALUES

TOPICS = ("activity", "power", "metadata")
_TORN_BYTES = 8_000_000


def recording(*payloads: bytes) -> bytes:
    """A whole one."""
    return MAGIC + b"".join(struct.pack("<II", len(data), zlib.crc32(data)) + data for data in payloads)


WHOLE = tuple(recording(*SEEDS[first : first + 4]) for first in range(0, len(SEEDS), 4))
WORDS = (MAGIC, b"\n", bytes(8), bytes(64), struct.pack("<I", 64 << 20), struct.pack("<I", 2**32 - 1))


def make(chance: Random) -> bytes:
    """One more input."""
    if chance.random() < 0.5:
        payloads = [
            restructured(chance, VALUES) if chance.random() < 0.5 else mutated(chance, SEEDS)
            for _number in range(chance.randint(1, 4))
        ]
        whole = recording(*payloads)
        return whole if chance.random() < 0.5 else whole[: chance.randint(0, len(whole))]
    return mutated(chance, WHOLE, WORDS)


def torn(length: int, present: int, checksum: int = 1) -> bytes:
    """A recording whose last record says one length and has another."""
    return WHOLE[0] + struct.pack("<II", length, checksum) + bytes(present)


def recordings(place: Path) -> Decoder:
    path = place / "recording"

    def check(data: Input) -> None:
        assert isinstance(data, bytes)
        path.write_bytes(data)
        with RecordingReader(path) as reader:
            payloads = list(reader)
        if not data.startswith(recording(*payloads)):
            raise BrokenPromiseError("what was read is not what the file begins with")
        with RecordedFrames(path, TOPICS) as recorded:
            for _frame in recorded:
                pass

    fixed = (
        lambda: b"",
        lambda: torn(_TORN_BYTES + 100, _TORN_BYTES),
        lambda: torn(0, _TORN_BYTES, 0),
        lambda: recording(*[SEEDS[0]] * (_TORN_BYTES // len(SEEDS[0]))),
    )
    return Decoder(make, check, (Fatal,), fixed)
