# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.calculator.apportion import apportion

weights = st.lists(st.integers(0, 10**15), min_size=1, max_size=60).filter(any)
energies = st.integers(0, 10**18)


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
