# SPDX-License-Identifier: Apache-2.0
"""Energy from readings of power."""

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.power.channel import Sample
from services.power.counter import Advance, First, Gap, Refused
from services.power.gauge import GaugeAccount, GaugeLimits

from .world import S

LIMITS = GaugeLimits(bridge_ns=10 * S, power_max_uw=2_000_000_000)
W = 1_000_000

steps = st.lists(
    st.tuples(st.integers(1, 10 * S), st.integers(0, 1000 * W)),
    min_size=2,
    max_size=30,
)


def account_of(samples, limits=LIMITS):
    account = GaugeAccount(limits)
    return account, [account.take(sample) for sample in samples]


def samples_of(steps):
    mono_ns, samples = 0, []
    for elapsed_ns, power_uw in steps:
        mono_ns += elapsed_ns
        samples.append(Sample(mono_ns, power_uw))
    return samples


@given(steps)
def test_energy_is_the_sum_of_the_trapezoids(steps):
    """To the microjoule, however many readings: what is below one is carried on."""
    samples = samples_of(steps)
    area = sum(
        Fraction((before.value + after.value) * (after.mono_ns - before.mono_ns), 2 * S)
        for before, after in itertools.pairwise(samples)
    )
    account, results = account_of(samples)
    assert account.energy_uj == int(area)
    assert sum(result.energy_uj for result in results[1:]) == account.energy_uj
    assert account.gaps == 0


@given(steps)
def test_the_error_covers_every_monotonic_course(steps):
    """A step at the beginning or at the end of each interval lies within the published error."""
    samples = samples_of(steps)
    account, _results = account_of(samples)
    for pick in (0, 1):
        truth = sum(
            Fraction((before, after)[pick].value * (after.mono_ns - before.mono_ns), S)
            for before, after in itertools.pairwise(samples)
        )
        assert abs(truth - account.energy_uj) <= account.integration_uj + 2


def test_constant_power_has_no_error():
    """20 W for 30 s are 600 J, exactly."""
    account, _results = account_of([Sample(second * S, 20 * W) for second in range(31)])
    assert (account.energy_uj, account.integration_uj) == (600 * W, 0)


def test_true_times_count_and_no_configured_period():
    """A reading that comes late brings the energy of the time that has passed."""
    account, _results = account_of([Sample(0, 10 * W), Sample(7 * S, 10 * W), Sample(8 * S, 10 * W)])
    assert account.energy_uj == 80 * W


def test_a_first_reading_is_no_energy():
    """There is nothing before it."""
    account, results = account_of([Sample(5 * S, 100 * W)])
    assert (results, account.energy_uj) == ([First()], 0)


def test_a_pause_that_is_too_long_is_a_gap():
    """Its energy isn't known: it isn't counted, and said; up to the cap it is."""
    account, results = account_of([Sample(0, 10 * W), Sample(10 * S, 10 * W), Sample(20 * S + 1, 10 * W)])
    assert isinstance(results[1], Advance)
    assert isinstance(results[2], Gap)
    assert results[2].is_pause
    assert (account.energy_uj, account.gaps) == (100 * W, 1)
    account.take(Sample(21 * S + 1, 10 * W))
    assert account.energy_uj == 110 * W


def test_impossible_power_is_refused_and_costs_nothing():
    """A sentinel of a broken sensor, or a negative figure, is no reading: the next good one bridges it."""
    for power_uw in (-1, 0xFFFF_FFFF * W, 1000 * W + 1):
        account, results = account_of([Sample(0, 10 * W), Sample(S, power_uw), Sample(2 * S, 10 * W)])
        assert isinstance(results[1], Refused)
        assert "expected power from 0 to 1000 W" in results[1].reason
        assert account.energy_uj == 20 * W


def test_a_time_that_is_not_later_is_refused():
    """Neither the same nor an earlier one moves the account."""
    account, results = account_of([Sample(5 * S, 10 * W), Sample(5 * S, 90 * W), Sample(4 * S, 90 * W)])
    assert [type(result) for result in results] == [First, Refused, Refused]
    account.take(Sample(6 * S, 10 * W))
    assert account.energy_uj == 10 * W
