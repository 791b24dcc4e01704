# SPDX-License-Identifier: Apache-2.0
"""Two-slot files: a whole payload, or Damaged; and a writer begins anew on any of them."""

import contextlib
import struct
import zlib
from pathlib import Path
from random import Random

from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from tests.fuzz.structure import restructured
from wattline.wire import shared
from wattline.wire.last import read_heartbeat
from wattline.wire.rundir import DIRECTORY_MODE, ServiceDirectory

from .frames import SEEDS, VALUES

_NUMBERS = (0, 1, 2, 2**31, 2**32, 2**63, 2**64 - 1)


def slot(sequence: int, payload: bytes, capacity: int, mark: int = 1) -> bytes:
    """A whole one."""
    checked = struct.pack("<QQ", sequence, len(payload))
    head = struct.pack("<Q", mark) + checked + struct.pack("<Q", zlib.crc32(payload, zlib.crc32(checked)))
    return head + payload + bytes(capacity - len(payload))


def slot_file(first: tuple[int, bytes], second: tuple[int, bytes]) -> bytes:
    """A file with two whole slots, as large as they need."""
    capacity = max(len(first[1]), len(second[1]))
    head = shared.MAGIC + struct.pack("<Q", capacity)
    return head + slot(*first, capacity) + slot(*second, capacity)


WHOLE = tuple(
    slot_file((number, SEEDS[number]), (number + 1, SEEDS[number - 1])) for number in range(len(SEEDS) - 1)
)


def make(chance: Random) -> bytes:
    """One more input."""
    match chance.randrange(3):
        case 0:
            return mutated(chance, WHOLE, (shared.MAGIC, bytes(8), bytes(32)))
        case 1:
            numbers = chance.choices((*_NUMBERS, chance.randrange(2**64)), k=2)
            return slot_file(*[(number, restructured(chance, VALUES)) for number in numbers])
    whole = bytearray(chance.choice(WHOLE))
    capacity = (len(whole) - 80) // 2
    place = chance.choice((8, *(start + of for start in (16, 48 + capacity) for of in (0, 8, 16, 24))))
    whole[place : place + 8] = struct.pack("<Q", chance.choice((*_NUMBERS, capacity, capacity + 1)))
    return bytes(whole)


def slot_files(place: Path) -> Decoder:
    directory = ServiceDirectory(place, "power")
    directory.path.mkdir()
    directory.path.chmod(DIRECTORY_MODE)

    def check(data: Input) -> None:
        assert isinstance(data, bytes)
        directory.last.write_bytes(data)
        read_heartbeat(directory)
        for payload in [payload for _sequence, payload in _slots(directory.last)]:
            if payload not in data:
                raise BrokenPromiseError("a payload that is not in the file")
        for read in (shared.read, shared.read_committed):
            with contextlib.suppress(shared.Damaged):
                read(directory.last)
        writer = shared.SlotWriter(directory.last)
        try:
            for payload in (b"one", b"two"):
                writer.write(payload)
                if shared.read(directory.last) != payload:
                    raise BrokenPromiseError("a writer that began on this file wrote something else")
        finally:
            writer.close()

    return Decoder(make, check, (), (lambda: b"", lambda: shared.MAGIC + b"\xff" * 8))


def _slots(path: Path) -> list[tuple[int, bytes]]:
    try:
        return shared.slots(path)
    except shared.Damaged:
        return []
