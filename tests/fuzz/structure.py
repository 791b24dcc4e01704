# SPDX-License-Identifier: Apache-2.0
"""Damage to what a MessagePack value says, with all lengths and checksums right. Pure."""

import struct
from collections.abc import Sequence
from random import Random
from typing import Any

import msgpack

_STEPS_MAX = 4
_REPEATED_MAX = 1000  # what is longer is not repeated
_COLUMN_WIDTHS = {"u8": 1, "u32": 4, "u64": 8}
_SCALARS: tuple[Any, ...] = (
    0, 1, -1, 127, 128, 255, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63),
    None, True, False, 0.0, 1.5, float("nan"), float("inf"), "", "x", "u64", "\x00", "\u202e", "1", b"",
    b"\xff\xfe",
    [], {}, [[]], [{}], {"": None},
)  # fmt: skip


class Pairs(list):  # type: ignore[type-arg]
    """A map as its pairs, so that a key may stand in it twice."""


class Packed(bytes):
    """Bytes that are packed already."""


def packed(value: Any) -> bytes:
    """The MessagePack of a value in which Pairs and Packed may stand."""
    if isinstance(value, Packed):
        return value
    packer = msgpack.Packer(use_bin_type=True)
    if isinstance(value, Pairs):
        return packer.pack_map_header(len(value)) + b"".join(packed(key) + packed(of) for key, of in value)
    if isinstance(value, list | tuple):
        return packer.pack_array_header(len(value)) + b"".join(map(packed, value))
    if isinstance(value, dict):
        return packed(Pairs(value.items()))
    try:
        return bytes(packer.pack(value))
    except UnicodeEncodeError:  # a name that isn't UTF-8 stays what it was
        data = value.encode("utf-8", "surrogateescape")
        return b"\xdb" + struct.pack(">I", len(data)) + data


def unpacked(data: bytes) -> Any:
    """A valid MessagePack value, its maps as Pairs."""
    return msgpack.unpackb(
        data,
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        object_pairs_hook=Pairs,
    )


def restructured(chance: Random, values: Sequence[Any]) -> bytes:
    """One of the values after a few random changes to its structure, packed."""
    value = chance.choice(values)
    for _step in range(chance.randint(1, _STEPS_MAX)):
        value = _changed(chance, value, values)
    return packed(value)


def _changed(chance: Random, value: Any, values: Sequence[Any]) -> Any:
    """The same with a change somewhere in it; deeper ones are likelier, since there is more there."""
    if isinstance(value, Pairs) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        key, of = value[at]
        return Pairs([*value[:at], (key, _changed(chance, of, values)), *value[at + 1 :]])
    if isinstance(value, list) and not isinstance(value, Pairs) and value and chance.random() < 0.7:
        if _is_column(value) and chance.random() < 0.7:
            return [value[0], _changed_column(chance, value[0], value[1])]
        at = chance.randrange(len(value))
        return [*value[:at], _changed(chance, value[at], values), *value[at + 1 :]]
    if isinstance(value, Pairs):
        return _changed_map(chance, value, values)
    if isinstance(value, list):
        return _changed_list(chance, value)
    return _replacement(chance, value)


def _is_column(value: list[Any]) -> bool:
    return (
        len(value) == 2
        and isinstance(value[0], str)
        and value[0] in _COLUMN_WIDTHS
        and isinstance(value[1], bytes)
    )


def _changed_column(chance: Random, width: str, data: bytes) -> bytes:
    size = _COLUMN_WIDTHS[width]
    extreme = chance.choice(
        (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), chance.randrange(2 ** (8 * size)))
    )
    item = extreme.to_bytes(size, "little")
    match chance.randrange(5):
        case 0:
            return data + item
        case 1:
            return data[:-size]
        case 2:
            return item * (len(data) // size)
        case 3:
            return data + chance.randbytes(chance.randint(1, size))
    at = chance.randrange(len(data) // size + 1) * size
    return data[:at] + item + data[at + size :]


def _changed_map(chance: Random, value: Pairs, values: Sequence[Any]) -> Any:
    match chance.randrange(6):
        case 0 if value:
            at = chance.randrange(len(value))
            return Pairs(value[:at] + value[at + 1 :])
        case 1 if value:  # a key twice, the second time with something else
            key, of = chance.choice(value)
            return Pairs([*value, (key, _replacement(chance, of))])
        case 2:
            return Pairs(
                [*value, (chance.choice(("unknown", "", "schema", 1, b"topic", None)), _nested(chance))]
            )
        case 3:
            other = chance.choice(values)
            return Pairs([*value, *other]) if isinstance(other, Pairs) else value
        case 4:
            return Pairs(chance.sample(value, len(value)))
    return _replacement(chance, value)


def _changed_list(chance: Random, value: list[Any]) -> Any:
    match chance.randrange(4):
        case 0:
            return value[:-1]
        case 1:
            return [*value, chance.choice(_SCALARS)]
        case 2 if value and len(value) < _REPEATED_MAX:
            return value * chance.choice((2, 3, 300))
    return _replacement(chance, value)


def _replacement(chance: Random, value: Any) -> Any:
    match chance.randrange(8):
        case 0:
            return _nested(chance)
        case 1:
            return _lie(chance)
        case 2 if isinstance(value, str) and len(value) < _REPEATED_MAX:
            return value * chance.choice((2, 300, 5000))
        case 3 if isinstance(value, int):
            return max(0, min(2**64 - 1, value + chance.choice((-1, 1, 2**32, 2**63))))
    return chance.choice(_SCALARS)


def _nested(chance: Random) -> Packed:
    """A deep or a wide value."""
    if chance.random() < 0.5:
        opening = chance.choice((b"\x91", b"\x81\xa0", b"\x81\xa1x"))
        return Packed(opening * chance.choice((3, 5, 100, 511, 512, 1023, 5000)) + b"\xc0")
    item = chance.choice(
        (b"\x80", b"\x90", b"\xc0", b"\xa0", b"\x00", b"\xa2ab", b"\xcb\x7f\xf8\0\0\0\0\0\0")
    )
    number = chance.choice((10, 1000, 20_000))
    return Packed(b"\xdd" + struct.pack(">I", number) + item * number)


def _lie(chance: Random) -> Packed:
    """A header that promises more than follows, or an extension type."""
    head = chance.choice((b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9"))
    return Packed(
        head + struct.pack(">I", chance.choice((2**32 - 1, 2**31, 10**6, 10**6 + 1, 4097, 8 * 10**6)))
    )
