# SPDX-License-Identifier: Apache-2.0
"""Raw readings of a wrapping counter become energy, or a type that says why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power.counter import (
    Account,
    Advance,
    First,
    Gap,
    Limits,
    Reading,
    Refused,
    Wrap,
    resume,
    step,
)
from wattline.zone_power import RENEWAL_NS_MAX

S = 1_000_000_000
POWER_MAX_UW = 1_000_000_000  # 1 kW
LIMITS = Limits(range_uj=65_532_610_987, power_max_uw=POWER_MAX_UW)  # AMD's; pauses below 65.5 s

ranges_uj = st.integers(1_000_000, 300_000_000_000)


@st.composite
def histories(draw):
    """(limits, true energy and time of each reading), such as a real counter can have."""
    limits = Limits(draw(ranges_uj), POWER_MAX_UW)
    mono_ns, true_uj, points = draw(st.integers(0, 10**15)), draw(st.integers(0, limits.range_uj)), []
    for _reading in range(draw(st.integers(1, 30))):
        points.append((mono_ns, true_uj))
        elapsed_ns = draw(st.integers(1, limits.pause_max_ns - 1))
        mono_ns += elapsed_ns
        true_uj += draw(st.integers(0, POWER_MAX_UW * elapsed_ns // S))
    return limits, points


@given(histories())
def test_energy_sums_to_the_truth_across_any_number_of_wraps(history):
    """What an account holds is what truly flowed between the first reading and the last."""
    limits, points = history
    account = Account(limits)
    for mono_ns, true_uj in points:
        step = account.take(Reading(mono_ns, true_uj % limits.range_uj))
        assert isinstance(step, First | Advance | Wrap)
    assert account.energy_uj == points[-1][1] - points[0][1]
    assert (account.gaps, account.refused) == (0, 0)


@given(st.integers(1, 60_000), st.integers(2, 40))
def test_a_wrap_at_every_reading_loses_nothing(short_uj, readings):
    """A counter that falls at each reading has gone through its range once each time."""
    account = Account(LIMITS)
    raw_uj = LIMITS.range_uj - 1
    for reading in range(readings):
        step = account.take(Reading(reading * (LIMITS.pause_max_ns - 1), raw_uj))
        assert isinstance(step, Wrap if reading else First)
        raw_uj -= short_uj
    assert raw_uj > 0
    assert account.energy_uj == (readings - 1) * (LIMITS.range_uj - short_uj)


@given(histories(), st.data())
def test_impossible_readings_change_nothing(history, data):
    """A reading beyond the counter's range is refused and counted, and the total is the same without it."""
    limits, points = history
    account = Account(limits)
    refused = 0
    for mono_ns, true_uj in points:
        if data.draw(st.booleans()):
            impossible = Reading(mono_ns, limits.range_uj + data.draw(st.integers(1, 2**64)))
            assert isinstance(account.take(impossible), Refused)
            refused += 1
        account.take(Reading(mono_ns, true_uj % limits.range_uj))
    assert account.refused == refused
    assert account.energy_uj == points[-1][1] - points[0][1]


@given(
    st.integers(0, 300_000_000_000),
    st.lists(st.tuples(st.integers(-S, 100 * S), st.integers(-5, 2**64)), min_size=2, max_size=40),
)
def test_whatever_is_read_energy_is_never_invented(range_uj, readings):
    """Energy never falls, and never grows faster than the greatest power that is plausible."""
    account = Account(Limits(range_uj, POWER_MAX_UW))
    mono_ns, energy_uj = 10**12, 0
    for elapsed_ns, raw_uj in readings:
        mono_ns += elapsed_ns
        before_ns = account.last.mono_ns if account.last else mono_ns
        account.take(Reading(mono_ns, raw_uj))
        most_uj = POWER_MAX_UW * (max(mono_ns - before_ns, 0) + RENEWAL_NS_MAX) // S
        assert energy_uj <= account.energy_uj <= energy_uj + most_uj
        energy_uj = account.energy_uj


def test_each_outcome_is_a_type():
    """First, advance, wrap, gap and refusal can't be mistaken for numbers."""
    old = Reading(100 * S, 1_000_000)
    assert step(None, old, LIMITS) == First()
    assert step(old, Reading(101 * S, 21_000_000), LIMITS) == Advance(20_000_000)
    near_end = Reading(100 * S, LIMITS.range_uj - 10)
    assert step(near_end, Reading(101 * S, 5), LIMITS) == Wrap(15)
    assert isinstance(step(old, Reading(200 * S, 21_000_000), LIMITS), Gap)
    assert isinstance(step(old, Reading(101 * S, LIMITS.range_uj + 1), LIMITS), Refused)


def test_range_itself_is_a_possible_reading():
    """The counter runs up to and including its range, which the next 0 equals."""
    at_range = Reading(100 * S, LIMITS.range_uj)
    assert step(Reading(99 * S, LIMITS.range_uj - 7), at_range, LIMITS) == Advance(7)
    assert step(at_range, Reading(101 * S, 0), LIMITS) == Wrap(0)


@pytest.mark.parametrize(
    ("pause_ns", "bridged"), [(LIMITS.pause_max_ns - 1, True), (LIMITS.pause_max_ns, False)]
)
def test_a_pause_is_bridged_only_if_one_wrap_is_certain(pause_ns, bridged):
    """Below range ÷ maximum power the energy is known; from there on it is a gap, and energy stays."""
    account = resume(LIMITS, 5_000_000, 0, Reading(100 * S, 40), LIMITS.range_uj)
    outcome = account.take(Reading(100 * S + pause_ns, 30))
    assert isinstance(outcome, Wrap if bridged else Gap)
    assert account.energy_uj == 5_000_000 + (LIMITS.range_uj - 10 if bridged else 0)
    assert account.gaps == (0 if bridged else 1)
    account.take(Reading(101 * S + pause_ns, 1_000_030))
    assert account.energy_uj == 6_000_000 + (LIMITS.range_uj - 10 if bridged else 0)


def test_a_reading_beyond_the_range_is_nothing_to_go_on_from():
    """Not even a wrap right after it makes a counter of it."""
    account = Account(LIMITS)
    account.take(Reading(100 * S, LIMITS.range_uj - 10))
    assert isinstance(account.take(Reading(101 * S, LIMITS.range_uj + 7)), Refused)
    assert account.take(Reading(102 * S, 5)) == Wrap(15)


def test_more_power_than_plausible_is_refused():
    """A jump of the counter is no measurement; the next true reading covers the time of it."""
    account = Account(LIMITS)
    account.take(Reading(100 * S, 0))
    assert isinstance(account.take(Reading(101 * S, 30_000_000_000)), Refused)
    assert account.take(Reading(102 * S, 100_000_000)) == Advance(100_000_000)
    assert (account.energy_uj, account.refused) == (100_000_000, 1)


def test_a_counter_that_was_set_back_is_a_gap_and_goes_on():
    """After a reset to 0 nothing is counted for the jump, though in time it would become plausible."""
    account = Account(LIMITS)
    account.take(Reading(100 * S, 30_000_000_000))
    assert isinstance(account.take(Reading(101 * S, 1_000_000)), Refused)
    assert isinstance(account.take(Reading(102 * S, 51_000_000)), Gap)
    for second in range(103, 203):
        assert account.take(Reading(second * S, (second - 101) * 50_000_000 + 1_000_000)) == Advance(
            50_000_000
        )
    assert (account.energy_uj, account.gaps, account.refused) == (100 * 50_000_000, 1, 1)


def test_time_that_stands_still_or_goes_back_is_refused():
    """Two readings of one instant have no power between them."""
    assert isinstance(step(Reading(S, 5), Reading(S, 6), LIMITS), Refused)
    assert isinstance(step(Reading(S, 5), Reading(S - 1, 6), LIMITS), Refused)


def test_a_counter_without_a_range_never_wraps():
    """Range 0 means none: a fall is a gap, a pause of any length is no trouble."""
    limits = Limits(0, POWER_MAX_UW)
    assert isinstance(step(Reading(S, 500), Reading(2 * S, 400), limits), Gap)
    assert step(Reading(S, 500), Reading(10**6 * S, 600), limits) == Advance(100)


def test_another_range_is_another_counter():
    """A former reading means nothing on a counter that wraps elsewhere: energy stays, one gap."""
    account = resume(LIMITS, 7, 2, Reading(100 * S, 50), LIMITS.range_uj - 1)
    assert account.take(Reading(101 * S, 60)) == First()
    assert (account.energy_uj, account.gaps) == (7, 3)
