# SPDX-License-Identifier: Apache-2.0
"""Damage to bytes: bit flips, truncations, splices, repeats, odd numbers and known words. Pure."""

import re
from collections.abc import Callable, Sequence
from random import Random

_STEPS_MAX = 6
_REPEATED_BYTES_MAX = 8192
_DIGITS = re.compile(rb"[0-9]+")
_NUMBERS = (
    b"0", b"-1", b"1", b"255", b"256", b"4294967295", b"4294967296", b"9223372036854775807",
    b"9223372036854775808", b"18446744073709551615", b"18446744073709551616", b"1e400", b"NaN", b"0.5",
    b"9" * 63, b"9" * 5000, b"00000000000000000000001", "\u0663".encode(), "\u00b2".encode(), b"", b"0x10",
    b"1_0",
)  # fmt: skip
_ODD_BYTES = (0, 1, 0x0A, 0x20, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xDC, 0xDD, 0xDF, 0xFE, 0xFF)


def mutated(chance: Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds after a few random changes. `words`: what the format itself is made of."""
    data = chance.choice(seeds)
    for _step in range(chance.randint(1, _STEPS_MAX)):
        data = chance.choice(_CHANGES)(chance, data, seeds, words)
    return data


Change = Callable[[Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]


def _cut(chance: Random, data: bytes) -> tuple[int, int]:
    """The two ends of a random, mostly short, stretch."""
    start = chance.randint(0, len(data))
    length = min(len(data) - start, int(chance.paretovariate(0.7)))
    return start, start + length


def _flip(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _odd_byte(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + bytes([chance.choice(_ODD_BYTES)]) + data[at + 1 :]


def _remove(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    start, end = _cut(chance, data)
    return data[:start] + data[end:]


def _truncate(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    return data[: chance.randint(0, len(data))]


def _repeat(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    start, end = _cut(chance, data)
    often = min(2 ** chance.randint(1, 12), _REPEATED_BYTES_MAX // max(1, end - start))
    return data[:start] + data[start:end] * often + data[end:]


def _splice(chance: Random, data: bytes, seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _insert(chance: Random, data: bytes, _seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = _cut(chance, data)
    word = chance.choice(words) if words else chance.randbytes(chance.randint(1, 8))
    return data[:start] + word + data[end if chance.random() < 0.5 else start :]


def _number(chance: Random, data: bytes, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return data
    match = chance.choice(found)
    return data[: match.start()] + chance.choice(_NUMBERS) + data[match.end() :]


_CHANGES: tuple[Change, ...] = (_flip, _odd_byte, _remove, _truncate, _repeat, _splice, _insert, _number)
