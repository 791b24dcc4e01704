# SPDX-License-Identifier: Apache-2.0
"""RAPL through perf events that a test drives, with a clock of its own."""

import errno
import shutil
from dataclasses import replace
from fractions import Fraction

import pytest

from services.power import perf_event, rapl_perf, rapl_perf_counter, rapl_perf_zones
from services.power.needs import Needs
from services.power.rapl_perf import RaplPerf
from services.power.settings import PowerSettings
from services.power.source import Former, Level

from .perf_machine import SCALE, FakePmu, PmuTree, Ticks, former, rows_of
from .world import RANGE_UJ, RaplTree, S

_LOOK_S = 10  # metered.LOOK_NS


@pytest.fixture
def clock(monkeypatch) -> Ticks:
    ticks = Ticks()
    monkeypatch.setattr(rapl_perf_counter, "time", ticks)
    monkeypatch.setattr(rapl_perf_zones, "time", ticks)
    return ticks


@pytest.fixture
def tree(tmp_path) -> PmuTree:
    """A socket with two CPUs, and a package event of 1 W."""
    tree = PmuTree(tmp_path)
    tree.cpus({0: (0, 0), 1: (0, 0)})
    tree.event("energy-pkg")
    return tree


def start(tree: PmuTree, pmu: FakePmu, before: Former | None = None, settings: PowerSettings | None = None):
    settings = settings or PowerSettings(path_sysfs=tree.sysfs)
    return RaplPerf(settings, before or Former(), pmu.clock.now_ns, open_event=pmu.open)


def test_a_cpu_whose_event_the_kernel_moved_costs_nothing(tree, clock):
    """The CPU of the mask goes offline, the kernel moves the event: the same event goes on, without a gap."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(5)
    tree.cpumask("1")
    clock.advance(_LOOK_S)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps, len(pmu.opened)) == (15_000_000, 0, 1)


def test_an_event_that_stopped_with_its_cpu_is_opened_on_the_next(tree, clock):
    """The event stays behind on the offline CPU: a stated gap, then energy counts on another CPU."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(5)
    assert rows_of(source.read(clock.now_ns))["package", "0"].energy_uj == 5_000_000
    pmu.opened[0].stopped_ns = clock.now_ns
    tree.cpumask("1")
    clock.advance(3)
    readings = source.read(clock.now_ns)
    assert "the kernel counted for 2.97 s less" in readings.state.reason
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert [event.cpu for event in pmu.live] == [1]
    assert [note.event for note in readings.notes] == ["gap"]
    clock.advance(2)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (7_000_000, 1)


def test_an_event_that_the_kernel_ended_is_opened_again(tree, clock):
    """A read that gives nothing is no reading: the zone is absent, then counts again after a stated gap."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(1)
    source.read(clock.now_ns)
    pmu.opened[0].is_ended = True
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert [one.why for one in readings.absent] == ["unreadable"]
    assert not readings.state.up
    assert rows_of(readings)["package", "0"].energy_uj == 1_000_000
    clock.advance(1)
    source.read(clock.now_ns)
    clock.advance(4)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (5_000_000, 1)


def test_an_event_that_ends_at_once_leaves_a_gap(tree, clock):
    """A break before anything was counted is stated as well."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    pmu.opened[0].is_ended = True
    clock.advance(5)
    source.read(clock.now_ns)
    source.read(clock.now_ns)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (1_000_000, 1)


def test_a_count_of_part_of_the_time_is_said_and_never_scaled(tree, clock):
    """Where the kernel counted for less than the time that passed, nothing is made up for the rest."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(1)
    source.read(clock.now_ns)
    pmu.opened[0].missed_ns = S // 2
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert "counted for 0.49 s less than the time" in readings.state.reason
    clock.advance(1)
    source.read(clock.now_ns)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (2_000_000, 1)


def test_little_that_is_missing_adds_up(tree, clock):
    """A fifth of each 20 ms isn't counted: too little to state at once, and stated after some readings."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    reasons = []
    for _turn in range(10):
        clock.advance(0.02)
        pmu.opened[0].missed_ns += 4_000_000
        reasons.append(source.read(clock.now_ns).state.reason)
    assert reasons[0] == ""
    assert sum("the kernel counted for" in reason for reason in reasons) >= 3


def test_an_event_without_a_register_is_no_zone(tree, clock):
    """A guest's kernel may offer psys although its register reads 0 for ever: absence, not 0 J."""
    tree.event("energy-psys", "event=0x05", SCALE)
    pmu = FakePmu(clock, per_ns={5: 0})
    source = start(tree, pmu)
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert set(rows_of(readings)) == {("package", "0")}
    assert readings.state.up
    assert any("psys" in note.cause and "hasn't counted" in note.cause for note in readings.notes)


def test_a_part_that_is_switched_on_later_counts_from_its_opening(tree, clock):
    """An idle graphics unit's zone appears when it counts, with its energy since the event was opened."""
    tree.event("energy-gpu", "event=0x04", "1e-9")
    pmu = FakePmu(clock, per_ns={4: 0})
    source = start(tree, pmu)
    clock.advance(1)
    source.read(clock.now_ns)
    pmu.opened[1].per_ns = 2
    clock.advance(_LOOK_S)
    source.read(clock.now_ns)
    clock.advance(1)
    readings = source.read(clock.now_ns)
    elapsed_s = Fraction(clock.now_ns - pmu.opened[1].opened_ns, S)
    assert rows_of(readings)["uncore", "0"].energy_uj == elapsed_s * 2_000_000


def test_a_restart_without_sysfs_is_a_stated_gap(tree, clock):
    """Energy goes on from the former run's total; what was used in between is missing, and said to be."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(5)
    before = former(source, clock.now_ns)
    source.close()
    clock.advance(60)
    source = start(tree, pmu, before)
    clock.advance(2)
    readings = source.read(clock.now_ns)
    (row,) = readings.rows
    assert (row.energy_uj, row.gaps, row.epoch) == (7_000_000, 1, before.epoch)
    (note,) = readings.notes
    assert (note.event, note.level) == ("gap", Level.INFO)
    assert "sysfs can't tell what was used since the stop" in note.cause
    assert source.resumed


def test_a_restart_is_a_gap_however_little_was_counted_before(tree, clock):
    """A former run that ended at once doesn't hide the gap."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    before = former(source, clock.now_ns)
    clock.advance(60)
    source = start(tree, pmu, before)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (1_000_000, 1)


class Beside:
    """RAPL in sysfs beside the PMU: the same package."""

    def __init__(self, tree: PmuTree):
        self.rapl = RaplTree(tree.sysfs)
        self.rapl.zone("intel-rapl:0", "package-0", 10_000_000)

    def set(self, energy_uj: int):
        self.rapl.set("intel-rapl:0", energy_uj)

    def forbid(self):
        shutil.rmtree(self.rapl.powercap / "intel-rapl:0")

    def allow(self):
        self.rapl.zone("intel-rapl:0", "package-0", 30_000_000)


def named(tree: PmuTree) -> PowerSettings:
    return PowerSettings(power_sources="rapl-perf", path_sysfs=tree.sysfs)


@pytest.mark.parametrize("wraps", [False, True])
def test_a_restart_is_bridged_by_sysfs(tree, clock, monkeypatch, wraps):
    """The row keeps the counter of sysfs: the next run adds its advance, over a wrap as well."""
    monkeypatch.setattr("services.power.zone_meter.time", clock)
    beside, pmu = Beside(tree), FakePmu(clock)
    start_uj = RANGE_UJ - 1_000_000 if wraps else 20_000_000
    beside.set(start_uj)
    source = start(tree, pmu, settings=named(tree))
    clock.advance(5)
    before = former(source, clock.now_ns)
    (row,) = before.rows.values()
    assert (row.raw, row.raw_range) == (start_uj, RANGE_UJ)
    clock.advance(60)
    beside.set((start_uj + 90_000_000) % RANGE_UJ)
    source = start(tree, pmu, before, named(tree))
    clock.advance(2)
    readings = source.read(clock.now_ns)
    (row,) = readings.rows
    assert (row.energy_uj, row.gaps) == (5_000_000 + 90_000_000 + 2_000_000, 0)
    assert not readings.notes


def test_a_row_that_is_repeated_keeps_its_own_raw_reading(tree, clock, monkeypatch):
    """A zone that can't be read keeps its row with sysfs's reading of that time: nothing counts twice."""
    monkeypatch.setattr("services.power.zone_meter.time", clock)
    beside, pmu = Beside(tree), FakePmu(clock)
    source = start(tree, pmu, settings=named(tree))
    clock.advance(1)
    source.read(clock.now_ns)
    pmu.opened[0].is_ended = True
    beside.set(11_000_000)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert (row.raw, row.mono_ns) == (10_000_000, clock.now_ns - S)


def test_a_bridge_that_must_be_confirmed_keeps_the_former_row_whole(tree, clock, monkeypatch):
    """700 W over the pause are above any rating: until readings agree, a next start can bridge it anew."""
    monkeypatch.setattr("services.power.zone_meter.time", clock)
    beside, pmu = Beside(tree), FakePmu(clock)
    source = start(tree, pmu, settings=named(tree))
    clock.advance(5)
    before = former(source, clock.now_ns)
    clock.advance(3)
    beside.set(10_000_000 + 3 * 700_000_000)
    source = start(tree, pmu, before, named(tree))
    clock.advance(0.1)
    readings = source.read(clock.now_ns)
    assert {row.zone: row for row in readings.rows} == before.rows
    assert [note.event for note in readings.notes] == ["doubted", "doubted"]
    clock.advance(0.1)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (5_000_000 + 3 * 700_000_000 + 200_000, 0)


@pytest.mark.parametrize("broken", ["no counter now", "other range", "too long", "too much"])
def test_what_sysfs_can_not_tell_is_a_gap(tree, clock, monkeypatch, broken):
    """A bridge is refused where the counter may have wrapped twice, or is another one."""
    monkeypatch.setattr("services.power.zone_meter.time", clock)
    beside, pmu = Beside(tree), FakePmu(clock)
    source = start(tree, pmu, settings=named(tree))
    clock.advance(5)
    before = former(source, clock.now_ns)
    clock.advance(1000 if broken == "too long" else 10)
    beside.set(200_000_000_000 if broken == "too much" else 20_000_000)
    if broken == "no counter now":
        beside.forbid()
    if broken == "other range":
        before = replace(
            before, rows={z: replace(row, raw_range=2 * RANGE_UJ) for z, row in before.rows.items()}
        )
    source = start(tree, pmu, before, named(tree))
    clock.advance(2)
    (row,) = source.read(clock.now_ns).rows
    assert (row.energy_uj, row.gaps) == (7_000_000, 1)


def test_while_sysfs_is_readable_no_event_is_opened(tree, clock):
    """By default rapl-sysfs has the zones; perf opens its events while they can't be read."""
    beside, pmu = Beside(tree), FakePmu(clock)
    source = start(tree, pmu)
    readings = source.read(clock.now_ns)
    assert (readings.rows, pmu.opened) == ([], [])
    assert "name rapl-perf in power.sources" in readings.state.reason
    beside.forbid()
    clock.advance(_LOOK_S)
    assert source.read(clock.now_ns).rows
    beside.allow()
    clock.advance(_LOOK_S)
    assert source.read(clock.now_ns).rows  # rapl-sysfs takes some readings to be in use again
    clock.advance(_LOOK_S)
    assert (source.read(clock.now_ns).rows, pmu.live) == ([], [])
    beside.forbid()
    clock.advance(_LOOK_S)
    source.read(clock.now_ns)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert row.gaps == 1


def test_needs_follow_from_what_is_going_to_be_used(tree, tmp_path_factory):
    """CAP_PERFMON and perf_event_open are asked for only where the events will be opened."""
    right = Needs(("CAP_PERFMON",), (), perf_event.CALLS)
    assert rapl_perf.needs(PowerSettings(path_sysfs=tree.sysfs)) == right
    assert rapl_perf.needs(PowerSettings(path_sysfs=tmp_path_factory.mktemp("none"))) == Needs()
    tree.masked.unlink()
    assert rapl_perf.needs(PowerSettings(path_sysfs=tree.sysfs)) == Needs()
    Beside(tree)
    assert rapl_perf.needs(PowerSettings(path_sysfs=tree.sysfs)) == Needs()
    assert rapl_perf.needs(named(tree)) == right


def test_without_rapl_in_sysfs_events_are_opened_on_request_only(tree, clock):
    """Many virtual machines have the PMU, whose counts stand still, and no RAPL."""
    tree.masked.unlink()
    pmu = FakePmu(clock)
    readings = start(tree, pmu).read(clock.now_ns)
    assert (readings.rows, pmu.opened, readings.nothing_found) == ([], [], True)
    assert "power.sources=+rapl-perf" in readings.state.reason
    start(tree, pmu, settings=named(tree))
    assert pmu.opened


def test_a_refusal_is_the_source_s_reason(tree, clock):
    """Without the right there is one reason, with the cure, and no row."""
    pmu = FakePmu(clock, error=OSError(errno.EACCES, "perf_event_open on CPU 0: Permission denied (cure)"))
    readings = start(tree, pmu).read(clock.now_ns)
    assert (readings.rows, readings.state.up) == ([], False)
    assert readings.state.reason == "perf_event_open on CPU 0: Permission denied (cure)"


def test_a_zone_that_the_kernel_refuses_leaves_the_others(tree, clock):
    """One event's error makes one zone absent."""
    tree.event("energy-ram", "event=0x03")
    pmu = FakePmu(clock)

    def open_event(pmu_type: int, config: int, cpu: int):
        if config == 3:
            raise OSError(errno.EINVAL, "perf_event_open on CPU 0: Invalid argument")
        return pmu.open(pmu_type, config, cpu)

    source = RaplPerf(PowerSettings(path_sysfs=tree.sysfs), Former(), clock.now_ns, open_event=open_event)
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert set(rows_of(readings)) == {("package", "0")}
    assert [(one.zone, one.index) for one in readings.absent] == [("dram", "0")]


def test_series_that_begin_again_begin_at_zero(tree, clock):
    """After a switch to another source, energy counts from 0 in a later epoch."""
    pmu = FakePmu(clock)
    source = start(tree, pmu)
    clock.advance(5)
    (old,) = source.read(clock.now_ns).rows
    source.begin_again()
    clock.advance(1)
    source.read(clock.now_ns)
    clock.advance(1)
    (row,) = source.read(clock.now_ns).rows
    assert row.epoch > old.epoch
    assert (row.energy_uj, row.gaps, len(pmu.live)) == (1_000_000, 0, 1)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (({0: (0, 0), 1: (1, 0)}, "0-1", 0), ["0", "1"]),
        (({0: (0, 0), 1: (0, 1)}, "0-1", 0), ["0-die-0", "0-die-1"]),
        (({0: (0, 0), 1: (0, 1), 2: (1, 0)}, "0-2", 0), ["0-die-0", "0-die-1", "1-die-0"]),
        (({0: (0, 0), 1: (0, 1), 2: (1, 0)}, "0,2", 2), ["0", "1"]),  # counts by package since Linux 6.12
        (({0: (0, 0), 1: (0, 1), 2: (1, 0)}, "0-2", 2), ["0-die-0", "1-die-0"]),  # before: mirrors left out
        (({0: (3, 0)}, "0", 0), ["3"]),
    ],
)
def test_a_slot_is_that_of_sysfs(tmp_path, clock, machine, expected):
    """Indexes of packages are named as RAPL in sysfs names them, whatever the CPU's number."""
    places, cpumask, vendor = machine
    tree = PmuTree(tmp_path, cpumask=cpumask)
    tree.cpus(places, vendor)
    tree.event("energy-pkg")
    source = start(tree, FakePmu(clock))
    clock.advance(1)
    assert sorted(index for _zone, index in rows_of(source.read(clock.now_ns))) == expected


def test_every_event_is_the_zone_that_it_is_called_in_sysfs(tmp_path, clock):
    """pkg, ram, cores, gpu, psys are package, dram, core, uncore, psys; a single core's is left out."""
    tree = PmuTree(tmp_path, cpumask="0,1")
    tree.cpus({0: (0, 0), 1: (1, 0)})
    for number, name in enumerate(("cores", "pkg", "ram", "gpu", "psys", "core"), start=1):
        tree.event(f"energy-{name}", f"event={number:#04x}")
    source = start(tree, FakePmu(clock))
    clock.advance(1)
    zones = {("package", "0"), ("dram", "0"), ("core", "0"), ("uncore", "0"), ("psys", "psys")}
    zones |= {("package", "1"), ("dram", "1"), ("core", "1"), ("uncore", "1"), ("psys", "psys-1")}
    assert set(rows_of(source.read(clock.now_ns))) == zones


def test_the_energy_of_a_single_core_is_no_zone(tree, clock):
    """AMD's energy-core is one core's: `core` would be far too low."""
    tree.event("energy-core", "event=0x01")
    source = start(tree, FakePmu(clock))
    clock.advance(1)
    assert set(rows_of(source.read(clock.now_ns))) == {("package", "0")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("energy-pkg", "event=2,umask=1"),
        ("energy-pkg", "event=0x100"),
        ("energy-pkg.unit", "Watts"),
        ("energy-pkg.scale", "nan"),
        ("energy-pkg.scale", "-1"),
        ("energy-pkg.scale", "1e-999999999"),
        ("energy-pkg.scale", "0"),
        ("energy-pkg.scale", ""),
    ],
)
def test_an_event_that_can_not_be_understood_is_left_out(tree, clock, name, text):
    """A zone is never made of a scale or unit that isn't one."""
    tree.event("energy-ram", "event=0x03")
    (tree.pmu / "events" / name).write_text(f"{text}\n", encoding="ascii")
    source = start(tree, FakePmu(clock))
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert set(rows_of(readings)) == {("dram", "0")}
    assert any("energy-pkg: expected" in note.cause for note in readings.notes)
