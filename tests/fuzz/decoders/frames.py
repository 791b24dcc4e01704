# SPDX-License-Identifier: Apache-2.0
"""Frames: whatever the bytes, a frame or FrameError, in bounded memory."""

import struct
from functools import partial
from pathlib import Path
from random import Random

from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from tests.fuzz.structure import Packed, Pairs, packed, restructured, unpacked
from wattline.wire.codec import decode, encode
from wattline.wire.packed import FrameError

FIXTURES = Path(__file__).parents[2] / "wire" / "fixtures"
SEEDS = tuple(path.read_bytes() for path in sorted((FIXTURES / "valid").glob("*.frame")))
VALUES = tuple(unpacked(seed) for seed in SEEDS)
REFUSED = tuple(path.read_bytes() for path in sorted((FIXTURES / "invalid").glob("*.frame")))
WORDS = (
    b"\xa5topic", b"\xa6schema", b"\xa5power", b"\xa8activity", b"\xa3u64", b"\xa3u32", b"\xc0", b"\xc1",
    b"\xc2",
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xcb\x7f\xf8" + bytes(6), b"\xd6\xff" + bytes(4),
    b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x00\x10\x01", b"\xc6\x00\x7a\x12\x00", b"\x91" * 600,
)  # fmt: skip
_ARRAY = 1_000_000  # the longest that there may be
_AMPLIFIED_BYTES = 8 * _ARRAY
# Few bytes on the wire, many in memory.
ITEMS = {
    "maps": b"\x80",
    "arrays": b"\x90",
    "nil": b"\xc0",
    "empty text": b"\xa0",
    "text": b"\xa3abc",
    "floats": b"\xcb\x7f\xf8" + bytes(6),
    "maps of one": b"\x81\xa1k\xc0",
    "numbers": b"\xce\x7f\xff\xff\xff",
}


def amplified(item: bytes, of_bytes: int, value: Pairs = VALUES[-1]) -> bytes:
    """A valid frame with an unknown key that holds as many of an item as fit into so many bytes."""
    number = min(_ARRAY, of_bytes // len(item))
    array = b"\xdd" + struct.pack(">I", number) + item * number
    arrays = max(1, of_bytes // len(array))
    outer = b"\xdd" + struct.pack(">I", arrays) + array * arrays
    return packed(Pairs([*value, ("unknown", Packed(outer))]))


def wide(item: bytes, of_bytes: int) -> bytes:
    """The same, the items spread over maps as large as they may be."""
    keys = 4096
    entries = b"".join(b"\xa4" + struct.pack(">I", 0x61616161 + key) + item for key in range(keys))
    wide_map = b"\xde" + struct.pack(">H", keys) + entries
    maps = max(1, of_bytes // len(wide_map))
    return packed(
        Pairs([*VALUES[-1], ("unknown", Packed(b"\xdd" + struct.pack(">I", maps) + wide_map * maps))])
    )


def make(chance: Random) -> bytes:
    """One more input."""
    match chance.randrange(20):
        case 0:
            item = chance.choice(tuple(ITEMS.values()))
            return amplified(item, int(10 ** chance.uniform(3, 5.5)), chance.choice(VALUES))
        case 1:
            return mutated(chance, REFUSED, WORDS)
        case 2 | 3 | 4:
            return mutated(chance, [restructured(chance, VALUES)], WORDS)
        case 5 | 6 | 7:
            return mutated(chance, SEEDS, WORDS)
    return restructured(chance, VALUES)


def check(data: Input) -> None:
    """A frame that is accepted says the same after another journey."""
    assert isinstance(data, bytes)
    frame = decode(data)
    if decode(encode(frame)) != frame:
        raise BrokenPromiseError("the frame differs after it was encoded and decoded again")


def frames(_place: Path) -> Decoder:
    fixed = [partial(amplified, item, _AMPLIFIED_BYTES) for item in ITEMS.values()]
    fixed += [partial(wide, b"\x80", _AMPLIFIED_BYTES), lambda: b"\x91" * _AMPLIFIED_BYTES + b"\xc0"]
    return Decoder(make, check, (FrameError,), fixed)
