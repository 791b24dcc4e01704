# SPDX-License-Identifier: Apache-2.0
"""Energy estimated from CPU time: over real time, without loss or invention, also across restarts."""

from hypothesis import given
from hypothesis import strategies as st

from services.power.estimator import Estimator
from services.power.power_model import HeldOut, Machine, PowerModel, ZoneModel
from services.power.source import Former, Level

from .world import S, activity

PPM = 1_000_000


def model(bend=False) -> PowerModel:
    """Per CPU 1 W of package when idle and 3 W when full; dram 1, platform 4 to 8 W. 4 CPUs."""

    def zone(idle_w, full_w):
        middle = [(500_000, full_w * 4 * PPM)] if bend else []
        held_out = HeldOut(mean_absolute_error_w=1.0, mean_absolute_ratio=0.25)
        return ZoneModel(knots=[(0, idle_w * 4 * PPM), *middle, (PPM, full_w * 4 * PPM)], held_out=held_out)

    return PowerModel(
        model="m4",
        machine=Machine(name="m4", cpu_count=4),
        zones={"package": zone(1, 3), "dram": zone(1, 1), "platform": zone(4, 8)},
    )


def energies(estimator, now_ns):
    return {row.zone.name: row.energy_uj for row in estimator.read(now_ns).rows}


def former_of(estimator, now_ns, epoch=1):
    return Former(epoch, {row.zone: row for row in estimator.read(now_ns).rows})


def test_energy_is_power_at_the_mean_utilisation_times_real_time():
    """Two CPUs, half used, for 3.5 s: (2 + 1 + 6) W a CPU."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [S]))
    assert energies(estimator, 1000 * S) == {"package": 0, "dram": 0, "platform": 0}
    estimator.on_activity(activity(1000 * S + 7 * S // 2, [S + 2 * S, S * 3 // 2], interval_ns=S))
    seconds = 7
    assert energies(estimator, 1004 * S) == {
        "package": seconds * 2 * PPM,
        "dram": seconds * PPM,
        "platform": seconds * 6 * PPM,
    }


def test_a_row_says_that_it_is_an_estimate_and_how_good():
    """Source, provenance, model, known error; raw is the CPU time and its epoch, on the activity's clock."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [5 * S, 7 * S], lost_ns=3, epoch=900 * S))
    row = estimator.read(1000 * S + 1).rows[0]
    assert (row.zone.name, row.zone.index, row.zone.source) == (
        "package",
        "estimator0",
        "trained_power_model",
    )
    assert (row.zone.provenance, row.zone.model, row.error_ratio_ppm) == ("estimated", "m4", 250_000)
    assert (row.mono_ns, row.raw, row.raw_range, row.raw_epoch) == (1000 * S, 12 * S + 3, 0, 900 * S)


def test_without_activity_there_are_no_rows():
    """Absence is not zero: no zone, and a state that says why."""
    estimator = Estimator(model(), Former())
    readings = estimator.read(1000 * S)
    assert not readings.rows
    assert not readings.state.up
    assert "no activity yet" in readings.state.reason


def test_old_activity_is_no_reading():
    """When the probe falls silent the rows go, and its next frame brings the energy of the time between."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [0]))
    assert estimator.read(1003 * S).rows
    readings = estimator.read(1003 * S + 1)
    assert not readings.rows
    assert "3.0 s old" in readings.state.reason
    estimator.on_activity(activity(1010 * S, [0]))
    assert energies(estimator, 1010 * S)["package"] == 10 * 2 * PPM


steps = st.lists(st.tuples(st.integers(1, 10 * S), st.integers(0, 100)), min_size=1, max_size=20)


def run(estimator, points):
    for mono_ns, busy_ns in points:
        estimator.on_activity(activity(mono_ns, [busy_ns]))
    return estimator


def history(steps, cpus=2):
    points = [(1000 * S, 5 * S)]
    for elapsed_ns, percent in steps:
        mono_ns, busy_ns = points[-1]
        points.append((mono_ns + elapsed_ns, busy_ns + elapsed_ns * cpus * percent // 100))
    return points


@given(steps)
def test_a_linear_estimate_does_not_depend_on_how_often_it_is_made(steps):
    """One long stretch gives every zone the same energy as the short ones it is made of."""
    points = history(steps)
    often, once = (
        run(Estimator(model(), Former()), points),
        run(Estimator(model(), Former()), points[:: len(points) - 1]),
    )
    now_ns = points[-1][0]
    assert energies(often, now_ns) == energies(once, now_ns)


@given(steps, st.data())
def test_a_restart_loses_nothing(steps, data):
    """A new run goes on from the rows of the last: the pause is estimated from its mean utilisation."""
    points = history(steps)
    at = data.draw(st.integers(1, len(points)))
    first = run(Estimator(model(), Former()), points[:at])
    second = Estimator(model(), former_of(first, points[at - 1][0]))
    assert second.resumed
    run(second, points[at - 1 :])  # the last activity comes again, from the probe's `last`
    now_ns = points[-1][0]
    whole = energies(run(Estimator(model(), Former()), points), now_ns)
    for name, energy_uj in energies(second, now_ns).items():
        assert whole[name] - 1 <= energy_uj <= whole[name]


@given(steps, st.booleans(), st.data())
def test_platform_holds_package_and_dram_in_whole_microjoules(steps, bend, data):
    """Also after rounding, at every tick, and over restarts."""
    points = history(steps)
    estimator = Estimator(model(bend), Former())
    for mono_ns, busy_ns in points:
        estimator.on_activity(activity(mono_ns, [busy_ns]))
        found = energies(estimator, mono_ns)
        assert found["platform"] >= found["package"] + found["dram"]
        if data.draw(st.booleans()):
            estimator = Estimator(model(bend), former_of(estimator, mono_ns))


def test_rows_of_another_model_are_not_gone_on_from():
    """Another model's energy is another series."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [0]))
    former = former_of(estimator, 1000 * S)
    other = PowerModel(model="m5", machine=model().machine, zones=model().zones)
    assert not Estimator(other, former).resumed


def test_a_new_epoch_of_activity_is_a_gap_and_counts_from_its_begin():
    """The time before it is a gap, said without alarm; what it has counted since its start is estimated."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [50 * S], epoch=900 * S))
    estimator.on_activity(activity(1012 * S, [2 * S], epoch=1010 * S))
    readings = estimator.read(1012 * S)
    assert {row.zone.name: row.energy_uj for row in readings.rows}["package"] == 2 * 2 * 2 * PPM
    assert {row.gaps for row in readings.rows} == {1}
    assert {row.raw_epoch for row in readings.rows} == {1010 * S}
    assert [(note.event, note.level) for note in readings.notes if note.event != "no_meter"] == [
        ("gap", Level.INFO)
    ]


def test_refused_usage_is_said_and_costs_no_energy():
    """There is no row from it; the next usage that can be covers its time as well."""
    estimator = Estimator(model(), Former())
    estimator.on_activity(activity(1000 * S, [10 * S]))
    estimator.on_activity(activity(1001 * S, [9 * S]))
    readings = estimator.read(1001 * S)
    assert not readings.rows
    assert "CPU time fell" in readings.state.reason
    assert [note.event for note in readings.notes] == ["no_meter", "refused"]
    estimator.on_activity(activity(1002 * S, [10 * S]))
    assert energies(estimator, 1002 * S)["package"] == 2 * 2 * PPM


def test_the_same_activity_again_changes_nothing():
    """A late joiner gets the last frame twice."""
    estimator = run(
        Estimator(model(), Former()), [(1000 * S, 0), (1001 * S, S), (1001 * S, S), (1000 * S, 0)]
    )
    assert energies(estimator, 1001 * S)["dram"] == 2 * PPM


def test_one_wrong_activity_is_not_believed_for_ever():
    """After some frames that agree with each other but not with it, estimation goes on, with a gap."""
    estimator = run(Estimator(model(), Former()), [(1000 * S, 10 * S), (1005 * S, 20 * S)])
    before = energies(estimator, 1005 * S)["package"]
    states = []
    for second in range(6, 11):
        estimator.on_activity(activity((1000 + second) * S, [(5 + second) * S]))
        readings = estimator.read((1000 + second) * S)
        states.append(readings.state.up)
    assert states == [False, False, True, True, True]
    # From the third on: two seconds of one busy CPU of two.
    assert {row.zone.name: row.energy_uj for row in readings.rows}["package"] == before + 2 * 2 * 2 * PPM
    assert {row.gaps for row in readings.rows} == {1}


def test_an_activity_of_an_older_epoch_is_refused():
    """A frame whose counters began before those of the last one contradicts it."""
    estimator = run(Estimator(model(), Former()), [(1000 * S, 10 * S)])
    estimator.on_activity(activity(1001 * S, [S], epoch=1000 * S))
    estimator.on_activity(activity(1002 * S, [11 * S]))
    readings = estimator.read(1002 * S)
    assert not readings.rows
    assert "older" in readings.state.reason
