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
from wattline.second_look import AGREEING
from wattline.zone_power import POWER_MARGIN, RENEWAL_NS_MAX

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
        true_uj += draw(st.integers(0, POWER_MAX_UW // POWER_MARGIN * elapsed_ns // S))
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
    """A counter that falls at each reading has gone past its end once each time."""
    account = Account(LIMITS)
    fall_uj = LIMITS.range_uj * 6 // 10 + short_uj
    for reading in range(readings):
        raw_uj = (LIMITS.range_uj - 1 - reading * fall_uj) % LIMITS.range_uj
        outcome = account.take(Reading(reading * (LIMITS.pause_max_ns - 1), raw_uj))
        assert isinstance(outcome, First | Advance | Wrap)
    assert account.energy_uj == (readings - 1) * (LIMITS.range_uj - fall_uj)


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
        # The renewal of each reading that confirms a gap counts.
        most_uj = POWER_MAX_UW * (max(mono_ns - before_ns, 0) + AGREEING * RENEWAL_NS_MAX) // S
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
    account = resume(LIMITS, 5_000_000, 0, Reading(100 * S, LIMITS.range_uj - 40), LIMITS.range_uj)
    outcome = account.take(Reading(100 * S + pause_ns, 30))
    assert isinstance(outcome, Wrap if bridged else Gap)
    assert account.energy_uj == 5_000_000 + (70 if bridged else 0)
    assert account.gaps == (0 if bridged else 1)
    account.take(Reading(101 * S + pause_ns, 1_000_030))
    assert account.energy_uj == 6_000_000 + (70 if bridged else 0)


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
    """After a reset to 0 the jump is never counted, only what the readings after it agree on."""
    account = Account(LIMITS)
    account.take(Reading(100 * S, 30_000_000_000))
    assert isinstance(account.take(Reading(101 * S, 1_000_000)), Refused)
    assert isinstance(account.take(Reading(102 * S, 51_000_000)), Refused)
    assert isinstance(account.take(Reading(103 * S, 101_000_000)), Gap)
    assert (account.energy_uj, account.gaps) == (100_000_000, 1)
    for second in range(104, 204):
        assert account.take(Reading(second * S, (second - 101) * 50_000_000 + 1_000_000)) == Advance(
            50_000_000
        )
    assert (account.energy_uj, account.gaps, account.refused) == (102 * 50_000_000, 1, 3)


# Too low by what a reading of an AMD 7840HS once was; beyond any power; and beyond any zone's rating only.
OFFSETS_UJ = [-680_600_000, -9_000_000_000, 30_000_000_000, 1_100_000_000, 680_600_000]


@pytest.mark.parametrize("offset_uj", OFFSETS_UJ)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("start_uj", [10_000_000_000, LIMITS.range_uj - 30_000_000])
def test_one_or_two_absurd_readings_between_good_ones_cost_nothing(offset_uj, count, start_uj):
    """The next good reading is judged by the last good one and has the energy of the whole time."""
    account = Account(LIMITS)
    for second in range(20):
        is_absurd = 8 <= second < 8 + count
        raw_uj = start_uj + second * 8_400_000 + is_absurd * offset_uj
        result = account.take(Reading(second * S, raw_uj % LIMITS.range_uj))
        assert isinstance(result, Refused) is is_absurd
    assert (account.energy_uj, account.gaps, account.refused) == (19 * 8_400_000, 0, count)


@pytest.mark.parametrize("offset_uj", OFFSETS_UJ[:-1])
def test_three_readings_that_agree_are_a_gap(offset_uj):
    """A counter that was set for good goes on from there, and only the jump and its interval are lost."""
    account = Account(LIMITS)
    for second in range(20):
        raw_uj = 10_000_000_000 + second * 8_400_000 + (second >= 8) * offset_uj
        account.take(Reading(second * S, raw_uj))
    assert (account.energy_uj, account.gaps, account.refused) == (18 * 8_400_000, 1, 3)


def test_power_above_any_rating_is_counted_once_it_is_confirmed():
    """Possible readings that agree are true after all: nothing is lost, and nothing is a gap."""
    account = Account(LIMITS)
    results = [account.take(Reading(second * S, second * 700_000_000)) for second in range(7)]
    assert [type(result) for result in results] == [First, Refused, Refused, *[Advance] * 4]
    assert all(result.is_doubt for result in results if isinstance(result, Refused))
    assert (account.energy_uj, account.gaps) == (6 * 700_000_000, 0)


def test_a_confirmed_power_stays_so_until_it_is_usual_again():
    """Similar powers are accepted at once, greater ones doubted; after a usual one all are doubted."""
    account = Account(LIMITS)
    kinds, raw_uj = [], 0
    for second, power_w in enumerate((560, 560, 560, 560, 600, 900, 560, 560, 400, 560)):
        raw_uj += power_w * 1_000_000
        kinds.append(type(account.take(Reading(second * S, raw_uj))))
    accepted, doubted = Advance, Refused
    assert kinds[:5] == [First, doubted, doubted, accepted, accepted]
    assert kinds[5:] == [doubted, doubted, accepted, accepted, doubted]


def test_an_impossible_reading_is_no_doubt():
    """Only what the counter can show is."""
    account = Account(LIMITS)
    account.take(Reading(0, 0))
    for raw_uj in (LIMITS.range_uj + 1, 30_000_000_000):
        result = account.take(Reading(S, raw_uj))
        assert isinstance(result, Refused)
        assert not result.is_doubt


def test_a_counter_that_was_away_may_have_begun_anew():
    """A fall is then no wrap, however possible one is; an advance counts as ever. Only the first reading."""
    for raw_uj, kind, energy_uj in ((5, Gap, 0), (60_000_000_000, Advance, 7_500_000_000)):
        account = Account(LIMITS)
        account.take(Reading(0, 52_500_000_000))
        account.was_away()
        assert isinstance(account.take(Reading(60 * S, LIMITS.range_uj + 1)), Refused)
        assert isinstance(account.take(Reading(61 * S, raw_uj)), kind)
        assert (account.energy_uj, account.gaps) == (energy_uj, int(kind is Gap))
    assert account.take(Reading(120 * S, 3)) == Wrap(LIMITS.range_uj - 60_000_000_000 + 3)


def test_absurd_readings_that_differ_confirm_nothing():
    """Garbage three times in a row is no counter that was set."""
    account = Account(LIMITS)
    account.take(Reading(0, 10_000_000_000))
    for second, raw_uj in enumerate((50_000_000_000, 3_000_000_000, 40_000_000_000, 20_000_000_000), 1):
        assert isinstance(account.take(Reading(second * S, raw_uj)), Refused)
    assert account.take(Reading(5 * S, 10_042_000_000)) == Advance(42_000_000)


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
