# SPDX-License-Identifier: Apache-2.0
"""One zone's readings, and the energy taken from them."""

from hypothesis import given
from hypothesis import strategies as st

from services.calculator.meter import Judgement, Meter, energy_at

S = 1_000_000_000
POWER_MAX_UW = 10**18  # no limit for what is tested here

readings = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=400)


def curve(steps):
    time_ns, energy_uj, points = 100, 0, []
    for step_ns, step_uj in steps:
        time_ns, energy_uj = time_ns + step_ns, energy_uj + step_uj
        points.append((time_ns, energy_uj))
    return points


@given(readings, st.lists(st.floats(0, 1), max_size=20))
def test_however_it_is_taken_the_total_is_the_meters(steps, cuts):
    """Taking energy in any pieces gives, at the last reading, exactly what the meter counted."""
    points = curve(steps)
    meter = Meter(epoch=1, watermark_ns=100)
    for time_ns, energy_uj in points:
        assert meter.judge(1, time_ns, energy_uj, POWER_MAX_UW) is Judgement.NEWER
        meter.read(1, time_ns, energy_uj)
    end_ns = points[-1][0]
    times = sorted({100 + round((end_ns - 100) * cut) for cut in cuts} | {end_ns})
    taken = [meter.take_until(time_ns) for time_ns in times]
    assert all(energy >= 0 for energy in taken)
    assert sum(taken) == points[-1][1]


def test_between_readings_energy_is_linear_and_floored():
    """Halfway in time is halfway in energy, in whole microjoules."""
    assert energy_at([(0, 0), (10, 101)], 5) == 50


def test_what_cannot_follow_is_impossible():
    """Energy that falls or grows beyond the limit of power, and an older epoch; an old time is only late."""
    meter = Meter(epoch=5, watermark_ns=0)
    meter.read(5, 10, 100)

    def judged(epoch, mono_ns, energy_uj, power_max_uw=POWER_MAX_UW):
        return meter.judge(epoch, mono_ns, energy_uj, power_max_uw)

    assert judged(5, 20, 99) is Judgement.IMPOSSIBLE
    assert judged(5, 10, 100) is judged(5, 9, 0) is judged(4, 10, 0) is Judgement.LATE
    assert judged(4, 20, 100) is Judgement.IMPOSSIBLE
    limit_uw = 1_000_000_000  # and 10 ms for the renewal of the meter
    assert judged(5, 10 + S, 100 + 1_010_000_000, limit_uw) is Judgement.NEWER
    assert judged(5, 10 + S, 100 + 1_010_000_001, limit_uw) is Judgement.IMPOSSIBLE
    assert judged(S, 2 * S, 1_010_000_000, limit_uw) is Judgement.NEWER
    assert judged(S, 2 * S, 1_010_000_001, limit_uw) is Judgement.IMPOSSIBLE


def test_a_new_epoch_counts_from_its_beginning():
    """A publisher that begins again starts at 0 at its epoch; the step back is a gap, no negative energy."""
    meter = Meter(epoch=1, watermark_ns=0)
    meter.read(1, 10, 100)
    meter.take_until(10)
    meter.read(50, 60, 7)
    assert (meter.watermark_ns, meter.gaps) == (50, 1)
    assert meter.take_until(60) == 7


def test_a_new_epoch_covers_no_time_twice():
    """Of one that is said to have begun before the watermark, only the part after it is taken."""
    meter = Meter(epoch=1, watermark_ns=0)
    meter.read(1, 100, 100)
    meter.take_until(100)
    meter.read(60, 140, 80)
    assert meter.take_until(140) == 40


def test_a_contradicted_meter_goes_on_without_the_time_between():
    """Nothing is booked for the time in which it isn't known what was true."""
    meter = Meter(epoch=5, watermark_ns=0)
    meter.read(5, 10, 1000)
    meter.begin_at(4, 20, 70)
    meter.read(4, 30, 77)
    assert (meter.watermark_ns, meter.gaps) == (20, 1)
    assert meter.take_until(30) == 7


def test_doubt_is_what_lies_between_two_readings():
    """At a reading there is none; between two, the true curve may be at either of them."""
    meter = Meter(epoch=1, watermark_ns=0)
    meter.read(1, 10, 100)
    meter.read(1, 30, 140)
    meter.take_until(10)
    assert (meter.interpolation_uj, meter.join_skew_ns) == (0, 0)
    meter.take_until(15)
    assert (meter.interpolation_uj, meter.join_skew_ns) == (30, 5)
    meter.take_until(30)
    assert (meter.interpolation_uj, meter.join_skew_ns) == (0, 0)


def test_a_curve_is_flat_outside_of_what_was_read():
    """Nothing is extrapolated."""
    assert [energy_at([(10, 5), (20, 9)], at) for at in (0, 10, 20, 99)] == [5, 5, 9, 9]
