# SPDX-License-Identifier: Apache-2.0
"""Columns of integers: their bytes, and what is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattline.wire import columns
from wattline.wire.columns import COLUMN_TYPES, U8, U32, U64


@pytest.mark.parametrize(
    ("column", "wire"),
    [
        (U8([0, 255]), ("u8", b"\x00\xff")),
        (U32([1, 2**32 - 1]), ("u32", b"\x01\x00\x00\x00\xff\xff\xff\xff")),
        (U64([1, 2**64 - 1]), ("u64", b"\x01" + bytes(7) + b"\xff" * 8)),
        (U64(), ("u64", b"")),
    ],
)
def test_the_wire_is_little_endian(column, wire):
    """A column's bytes are those of docs/wire.md, and come back as the same column."""
    assert column.to_wire() == wire
    assert type(column).from_wire(list(wire)) == column


@pytest.mark.parametrize("kind", COLUMN_TYPES)
def test_the_wire_is_little_endian_on_a_big_endian_machine_too(kind, monkeypatch):
    """Where the machine's own order is the other one, bytes are swapped both ways."""
    values = kind([1, 2, 3])
    natural = values.to_wire()
    monkeypatch.setattr(columns, "_SWAP", True)
    itemsize = values.itemsize
    assert values.to_wire()[1] == b"".join(
        natural[1][at : at + itemsize][::-1] for at in range(0, len(natural[1]), itemsize)
    )
    assert kind.from_wire(values.to_wire()) == values


@pytest.mark.parametrize("kind", COLUMN_TYPES)
@given(data=st.data())
def test_a_width_holds_its_range_and_no_more(kind, data):
    """Every number of the width comes back; one outside is refused where it is made, not cut."""
    largest = 2 ** (8 * kind().itemsize) - 1
    value = data.draw(st.integers(0, largest))
    assert list(kind.from_wire(kind([value]).to_wire())) == [value]
    with pytest.raises(OverflowError):
        kind([data.draw(st.integers(largest + 1) | st.integers(max_value=-1))])


@pytest.mark.parametrize(
    "raw",
    [None, 5, b"\x00" * 8, "u64", [], ["u64"], ["u64", b"", 0], ["u32", b""], ["u64", ""], ["u64", b"123"]],
)
def test_what_is_no_column_is_refused(raw):
    """Anything but [own dtype, whole items] raises ValueError, which says what was expected."""
    with pytest.raises(ValueError, match="expected a"):
        U64.from_wire(raw)
