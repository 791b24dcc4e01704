# SPDX-License-Identifier: Apache-2.0
"""The text format, by values."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from services.exporter.exposition import Block, Family, Rows, decimal, label_text, text

from .frames import HOSTILE
from .readback import read


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.sampled_from([0, 6, 9]))
def test_values_keep_every_digit(values, decimals):
    """A value comes out as the integer ÷ 10^decimals exactly, up to 2^64, with exactly so many decimals."""
    labels = [f'n="{row}"' for row in range(len(values))]
    written = text([Family("a_total", "counter", "Help.", [Block(labels, values)], decimals)])
    series = read(written)
    assert [one.value for one in series] == [Decimal(value).scaleb(-decimals) for value in values]
    assert {-one.value.as_tuple().exponent for one in series} == {decimals}


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(0, 6, "0.000000"), (1, 6, "0.000001"), (10**6, 6, "1.000000"), (-1, 9, "-0.000000001"), (-7, 0, "-7")],
)
def test_decimal(value, decimals, expected):
    """Decimals are padded with zeros, and a sign stands in front."""
    assert decimal(value, decimals) == expected


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text()), min_size=1, unique=True))
def test_label_values_come_back(values):
    """Any label value, with quotes, backslashes and line ends, is read back as it was by another's parser."""
    labels = [label_text({"name": value, "n": str(row)}) for row, value in enumerate(values)]
    written = text([Family("a", "gauge", "Help.", [Block(labels, [1] * len(values), 'z="1"')])])
    (family,) = text_string_to_metric_families(written.decode())
    assert [sample.labels["name"] for sample in family.samples] == values


def test_family_without_series_is_left_out():
    """A family that has no series leaves no trace, not even its help."""
    assert text([Family("a", "gauge", "Help.", [Block([], [])]), Family("b", "gauge", "Help.", [])]) == b""


def test_series_without_labels():
    """Blocks may lack labels of their own, or common ones, or both."""
    blocks = [Block([""], [1], 'mode="idle"'), Block(['a="1"'], [2], 'mode="idle"'), Block([""], [3])]
    assert text([Family("a", "gauge", "Help.", blocks)]) == (
        b'# HELP a Help.\n# TYPE a gauge\na{mode="idle"} 1\na{a="1",mode="idle"} 2\na 3\n'
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))))
def test_rows_with_equal_labels_are_summed(rows):
    """Rows with equal labels make one series with the sum of all their columns, beyond 64 bits too."""
    expected: dict[str, int] = {}
    for label, first, second in rows:
        expected[label] = expected.get(label, 0) + first + second
    block = Rows([label for label, _, _ in rows]).block([[row[1] for row in rows], [row[2] for row in rows]])
    assert dict(zip(block.labels, block.values, strict=True)) == expected
    assert len(set(block.labels)) == len(block.labels)
