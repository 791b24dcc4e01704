# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cluster.quantity import MILLI_MAX, milli, quantity

MILLI = {
    "100m": 100,
    "0.5": 500,
    "1": 1000,
    "2e3": 2_000_000,
    "2E3": 2_000_000,
    "25e-2": 250,
    "1.": 1000,
    ".25": 250,
    "+1": 1000,
    "0": 0,
    "-0": 0,
    "0.1": 100,
    "1k": 1_000_000,
    "1Ki": 1_024_000,
    "0.001Ki": 1024,
    "1u": 1,
    "1000u": 1,
    "1001u": 2,
    "1n": 1,
    "100.1m": 101,
    "4294967295m": MILLI_MAX,
    "1e-999999999999999999": 1,
    2: 2000,
    0.25: 250,
}


@pytest.mark.parametrize("text", MILLI)
def test_a_quantity_is_read_exactly(text):
    """As Kubernetes reads it: all suffixes, and a part of a thousandth is rounded up."""
    assert milli(text) == MILLI[text]


@pytest.mark.parametrize(
    "text",
    ["", ".", "m", "2e3m", "1 m", "1mi", "0x1", "1e", "١", "1_000", "--1", "nan", "1" * 101, "\n1", "1\n"],
)
def test_what_is_no_quantity_is_refused(text):
    """Kubernetes takes one suffix or an exponent, and no other digits than ASCII's."""
    with pytest.raises(ValueError, match="expected a quantity such as 100m, got"):
        quantity(text)


@pytest.mark.parametrize("value", [True, None, [], {}, [[]] * 1000, float("nan"), float("inf")])
def test_what_no_json_quantity_is_is_refused(value):
    """Nothing but text and numbers, whatever it is."""
    with pytest.raises(ValueError, match="expected a quantity such as 100m, got"):
        quantity(value)


@pytest.mark.parametrize("text", ["-1m", "4294967296m", "5Mi", "1e99", "1e999999999999999999"])
def test_no_cpu_request_is_below_0_or_above_what_a_frame_holds(text):
    """The second would be four million CPUs."""
    with pytest.raises(ValueError, match="expected a quantity from 0 to 4294967295m"):
        milli(text)


@given(st.integers(0, 10**12), st.integers(0, 9))
def test_a_decimal_fraction_is_exact(number, places):
    """No binary floating point is in the way."""
    text = f"{number:0{places + 1}d}"
    text = f"{text[: len(text) - places]}.{text[len(text) - places :]}"
    assert quantity(text) == Fraction(number, 10**places)
