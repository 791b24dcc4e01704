# SPDX-License-Identifier: Apache-2.0
"""A process that writes to a two-slot file as fast as it can: `python fast_writer.py PATH`.

Each payload says which one it is, from its first byte to its last; the next is the number after.
"""

import sys
from pathlib import Path

from wattline.wire.shared import SlotWriter, read

# From nothing but its own number to more than the file has room for at first, back and forth.
_LENGTHS = (1, 30_000, 5, 9_000, 100, 2_000, 1, 600, 40_000, 12)


def payload(number: int) -> bytes:
    return number.to_bytes(8, "little") * _LENGTHS[number % len(_LENGTHS)]


def number_in(data: bytes) -> int:
    """The number a payload carries; AssertionError if it isn't whole."""
    number = int.from_bytes(data[:8], "little")
    assert data == payload(number), f"torn: {len(data)} bytes that begin with {number}"
    return number


def main() -> None:
    path = Path(sys.argv[1])
    number = number_in(read(path)) if path.exists() else 0
    writer = SlotWriter(path)
    while True:
        number += 1
        writer.write(payload(number))


if __name__ == "__main__":
    main()
