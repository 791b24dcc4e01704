# SPDX-License-Identifier: Apache-2.0
"""Ticks on a schedule that never drifts, and the time of frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattline.clock import NS_PER_S, FrameClock, Pace, Schedule

intervals = st.integers(20_000_000, 3600 * NS_PER_S)
instants = st.integers(0, 10**18)
delays = st.lists(st.integers(0, 20 * NS_PER_S), min_size=1, max_size=30)


@given(intervals, st.floats(0, 0.999), instants, delays)
def test_every_tick_is_due_on_the_grid(interval_ns, phase_ratio, begun_ns, delays_ns):
    """However late each tick is taken, the next is due at a multiple of the interval, plus the phase."""
    schedule = Schedule(interval_ns, round(interval_ns * phase_ratio))
    schedule.start(begun_ns)
    now_ns = begun_ns
    for delay_ns in delays_ns:
        wait_ns = schedule.wait_ns(now_ns)
        assert wait_ns > 0
        assert not schedule.take(now_ns + wait_ns - 1)
        now_ns += wait_ns
        assert (now_ns - schedule.phase_ns) % interval_ns == 0
        now_ns += delay_ns
        assert schedule.take(now_ns)


@given(intervals, st.floats(0, 0.999), instants, delays)
def test_every_interval_is_ticked_or_late(interval_ns, phase_ratio, begun_ns, delays_ns):
    """Ticks taken and ticks missed are together the intervals that have begun, however late each was."""
    schedule = Schedule(interval_ns, round(interval_ns * phase_ratio))
    schedule.start(begun_ns)
    first_ns = now_ns = begun_ns + schedule.wait_ns(begun_ns)
    taken = 0
    for delay_ns in delays_ns:
        now_ns += delay_ns
        taken += schedule.take(now_ns)
    assert taken + schedule.late_ticks == (now_ns - first_ns) // interval_ns + 1


@given(intervals, st.floats(0, 0.999), instants)
def test_the_first_tick_comes_within_one_interval(interval_ns, phase_ratio, begun_ns):
    """A service does not wait longer than an interval, and does not tick at the instant of its start."""
    schedule = Schedule(interval_ns, round(interval_ns * phase_ratio))
    schedule.start(begun_ns)
    assert 0 < schedule.wait_ns(begun_ns) <= interval_ns


@given(intervals, instants, instants)
def test_services_started_apart_tick_together(interval_ns, one_ns, other_ns):
    """Two schedules of equal interval and phase have the same grid, whenever they began."""
    due = []
    for begun_ns in (one_ns, other_ns):
        schedule = Schedule(interval_ns)
        schedule.start(begun_ns)
        due.append((begun_ns + schedule.wait_ns(begun_ns)) % interval_ns)
    assert due[0] == due[1]


@pytest.mark.parametrize(
    ("now_s", "due", "late"),
    [
        (10.0, False, 0),
        (10.999, False, 0),
        (11.0, True, 0),
        (11.999, True, 0),
        (12.0, True, 1),
        (14.5, True, 3),
    ],
)
def test_a_tick_late_by_whole_intervals_counts_them(now_s, due, late):
    """Started at 10.0 s with an interval of 1 s: due at 11.0, and what is missed is counted, not made up for.

    10        11        12        13        14        15
     | start   | due     | late    | late    | late  ^  | next due, when taken at 14.5
    """
    schedule = Schedule(NS_PER_S)
    schedule.start(10 * NS_PER_S)
    now_ns = round(now_s * NS_PER_S)
    assert schedule.take(now_ns) is due
    assert schedule.late_ticks == late
    if due:
        assert not schedule.take(now_ns)
        assert schedule.wait_ns(now_ns) == NS_PER_S - now_ns % NS_PER_S


def test_a_phase_orders_services_within_the_interval():
    """A service with a phase ticks that much after one without."""
    first, second = Schedule(NS_PER_S), Schedule(NS_PER_S, NS_PER_S // 4)
    for schedule in (first, second):
        schedule.start(5 * NS_PER_S)
    assert (first.wait_ns(5 * NS_PER_S), second.wait_ns(5 * NS_PER_S)) == (NS_PER_S, NS_PER_S // 4)


@given(st.lists(st.tuples(instants, instants), min_size=1))
def test_the_clock_of_frames_stands_at_the_newest(times):
    """It never goes back, and its wall clock is that of the frame it stands at."""
    clock = FrameClock()
    for count, (mono_ns, unix_ns) in enumerate(times, 1):
        clock.take(mono_ns, unix_ns)
        newest_ns = max(mono for mono, _unix in times[:count])
        assert clock.mono_ns == newest_ns
        assert (newest_ns, clock.unix_ns(newest_ns)) in times[:count]


def test_the_clock_of_frames_keeps_their_distance():
    """An instant before or after the frame is as far from it on either clock."""
    clock = FrameClock()
    clock.take(100, 1000)
    assert (clock.unix_ns(93), clock.unix_ns(100), clock.unix_ns(107)) == (993, 1000, 1007)


@pytest.mark.parametrize(("speed", "wait_s"), [("1", 10), ("2", 5), ("0.5", 20), ("max", 0), ("0", 0)])
def test_a_replay_is_paced_by_the_times_of_frames(speed, wait_s):
    """The first frame is due at once, a later one after the recorded distance ÷ the speed."""
    pace = Pace.of(speed)
    assert pace.wait_ns(500 * NS_PER_S, 7) == 0
    assert pace.wait_ns(510 * NS_PER_S, 7) == wait_s * NS_PER_S
    assert pace.wait_ns(510 * NS_PER_S, 7 + wait_s * NS_PER_S) == 0
    assert pace.wait_ns(499 * NS_PER_S, 7) == 0
