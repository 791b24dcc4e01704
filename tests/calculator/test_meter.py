# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from services.calculator.meter import Meter, energy_at

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
        assert meter.read(1, time_ns, energy_uj)
    end_ns = points[-1][0]
    times = sorted({100 + round((end_ns - 100) * cut) for cut in cuts} | {end_ns})
    taken = [meter.take_until(time_ns) for time_ns in times]
    assert all(energy >= 0 for energy in taken)
    assert sum(taken) == points[-1][1]


def test_between_readings_energy_is_linear_and_floored():
    """Halfway in time is halfway in energy, in whole microjoules."""
    assert energy_at([(0, 0), (10, 101)], 5) == 50


def test_falling_and_stale_readings_are_refused():
    """A cumulative energy that falls, and a time that doesn't advance, are no readings."""
    meter = Meter(epoch=1, watermark_ns=0)
    assert meter.read(1, 10, 100)
    assert not meter.read(1, 20, 99)
    assert not meter.read(1, 10, 100)


def test_a_new_epoch_counts_from_its_beginning():
    """A publisher that begins again starts at 0 at its epoch; the step back is a gap, no negative energy."""
    meter = Meter(epoch=1, watermark_ns=0)
    meter.read(1, 10, 100)
    meter.take_until(10)
    assert meter.read(50, 60, 7)
    assert (meter.watermark_ns, meter.gaps) == (50, 1)
    assert meter.take_until(60) == 7


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
