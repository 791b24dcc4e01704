# SPDX-License-Identifier: Apache-2.0
"""Numbers as the kernel writes them, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattline.decimal import decimal


@given(st.integers(0, 2**64 - 1))
def test_every_number_of_64_bits_is_read(number):
    """As text and as bytes."""
    assert decimal(str(number)) == decimal(str(number).encode()) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "0x1",
        "1.0",
        "\u0663",
        "\u00b2",
        str(2**64),
        "1" * 21,
        "9" * 5000,
    ],
)
def test_anything_else_is_refused_with_what_it_was(text):
    """Short enough for a log, however long it is; never by int()'s own text."""
    for given_text in (text, text.encode()):
        with pytest.raises(
            ValueError, match="expected decimal digits of a number up to 18446744073709551615"
        ):
            decimal(given_text)
        with pytest.raises(ValueError, match="got") as raised:
            decimal(given_text)
        assert len(str(raised.value)) < 150
