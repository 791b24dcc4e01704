# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.calculator import apportion as module

weights = st.lists(st.integers(0, 10**15) | st.integers(0, 2**58), min_size=1, max_size=60).filter(any)
# Beyond 2⁵⁰ another way of calculating begins.
energies = st.integers(0, 10**18) | st.integers(2**50 - 2, 2**50 + 2)


def apportion(total_uj, by):
    return module.apportion(total_uj, np.array(by, np.int64)).tolist()


@given(energies, weights)
def test_shares_sum_to_the_total(total_uj, by):
    """No microjoule is made or lost."""
    assert sum(apportion(total_uj, by)) == total_uj


@given(energies, weights)
def test_shares_are_within_one_microjoule_of_exact(total_uj, by):
    """Rounding moves nobody by a microjoule or more, and takes nobody below zero."""
    for share, weight in zip(apportion(total_uj, by), by, strict=True):
        assert share >= 0
        assert abs(share - Fraction(total_uj * weight, sum(by))) < 1


@given(energies, weights)
def test_who_did_nothing_gets_nothing(total_uj, by):
    """A weight of 0 earns 0."""
    assert all(not share for share, weight in zip(apportion(total_uj, by), by, strict=True) if not weight)


@given(energies, weights)
def test_both_ways_of_calculating_agree(total_uj, by):
    """The fast way gives what Python's unbounded integers give."""
    assert apportion(total_uj, by) == module._apportion_unbounded(total_uj, np.array(by)).tolist()
