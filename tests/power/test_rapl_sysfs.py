# SPDX-License-Identifier: Apache-2.0
"""Readings of RAPL counters: what is measured, what is not, and that the two can't be confused."""

import errno
import os
from pathlib import Path

import pytest

from services.power import rapl_sysfs, zone_meter
from services.power.rapl_sysfs import RaplSysfs, open_source
from services.power.settings import PowerSettings
from services.power.source import Former, Zone, ZoneEnergy
from services.power.zone_meter import parse_uj
from wattline.wire.frames import ZONES_MAX, SourceState

from .world import Clock, RaplTree

NOW_NS = Clock().now_ns


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(zone_meter, "time", clock)
    return clock


@pytest.fixture
def tree(tmp_path) -> RaplTree:
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", energy_uj=1_000_000)
    tree.zone("intel-rapl:0/intel-rapl:0:0", "dram", energy_uj=2_000_000)
    return tree


@pytest.fixture
def source(tree, clock):
    source = open_source(PowerSettings(path_sysfs=tree.sysfs), Former(), NOW_NS)
    clock.advance(1)
    yield source
    source.close()


def energies(readings):
    return {str(row.zone): row.energy_uj for row in readings.rows}


def fresh(readings, before):
    """The energies of rows that are new readings."""
    told = {row.zone: row.mono_ns for row in before.rows}
    return {str(row.zone): row.energy_uj for row in readings.rows if row.mono_ns > told.get(row.zone, 0)}


def failing(monkeypatch, path, number):
    """Opening and reading one energy_uj fails, as on a kernel whose zone has gone or is root's."""
    real_open, real_pread = os.open, os.pread

    def is_it(descriptor):
        return Path(f"/proc/self/fd/{descriptor}").readlink() == path

    def fake_open(opened, *arguments, **keywords):
        if str(opened) == str(path):
            raise OSError(number, os.strerror(number))
        return real_open(opened, *arguments, **keywords)

    def fake_pread(descriptor, *arguments):
        if is_it(descriptor):
            raise OSError(number, os.strerror(number))
        return real_pread(descriptor, *arguments)

    monkeypatch.setattr(zone_meter.os, "open", fake_open)
    monkeypatch.setattr(zone_meter.os, "pread", fake_pread)


def test_energy_counts_from_the_first_reading(tree, source, clock):
    """Energy is 0 at the first reading; later ones add what the counter did since."""
    assert energies(source.read(0)) == {"package 0": 0, "dram 0": 0}
    clock.advance(1)
    tree.set("intel-rapl:0", 21_000_000)
    tree.set("intel-rapl:0/intel-rapl:0:0", 5_000_000)
    assert energies(source.read(0)) == {"package 0": 20_000_000, "dram 0": 3_000_000}


def test_a_row_says_what_it_is_and_holds_the_meters_own_figure(tree, source, clock):
    """Measured, by RAPL, with raw value, range and the time of its own reading."""
    tree.set("intel-rapl:0", 1_500_000)
    row = source.read(0).rows[0]
    assert row == ZoneEnergy(
        zone=Zone("package", "0", "rapl-sysfs", "measured"),
        epoch=NOW_NS,
        mono_ns=clock.now_ns,
        energy_uj=500_000,
        raw=1_500_000,
        raw_range=262_143_328_850,
    )


def test_the_time_of_a_reading_is_the_middle_of_it(source, clock, monkeypatch):
    """A reading that takes 2 s is stamped 1 s after its begin."""
    begun_ns, real_pread = clock.now_ns, os.pread

    def slow_pread(*arguments):
        clock.advance(2)
        return real_pread(*arguments)

    monkeypatch.setattr(zone_meter.os, "pread", slow_pread)
    assert source.read(0).rows[0].mono_ns == begun_ns + 1_000_000_000


def open_below(directory):
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(str(target) for link in links if (target := link.readlink()).is_relative_to(directory))


def test_descriptors_stay_open_between_readings(tree, source, clock, monkeypatch):
    """Each counter is opened once, and closing leaves none open."""
    monkeypatch.setattr(zone_meter.os, "open", _permission_denied)
    for _tick in range(5):
        clock.advance(1)
        assert source.read(0).state.up
    assert len(open_below(tree.sysfs)) == 2
    source.close()
    assert open_below(tree.sysfs) == []


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT, errno.EIO])
def test_a_zone_that_vanishes_keeps_its_row_and_comes_back_where_it_was(
    tree, source, clock, monkeypatch, number
):
    """While it is away its last row stays and the source says so; its energy meanwhile is in the next."""
    gone = tree.powercap / "intel-rapl:0" / "intel-rapl:0:0" / "energy_uj"
    before = source.read(0)
    with monkeypatch.context() as patch:
        failing(patch, gone, number)
        clock.advance(1)
        tree.set("intel-rapl:0", 2_000_000)
        readings = source.read(0)
        assert fresh(readings, before) == {"package 0": 1_000_000}
        assert [row for row in readings.rows if row.zone.name == "dram"] == [before.rows[1]]
        assert not readings.state.up
        assert "dram 0" in readings.state.reason
        assert os.strerror(number) in readings.state.reason
        assert [note.event for note in readings.notes] == ["unreadable"]
    clock.advance(1)
    tree.set("intel-rapl:0/intel-rapl:0:0", 9_000_000)
    readings = source.read(0)
    assert energies(readings) == {"package 0": 1_000_000, "dram 0": 7_000_000}
    assert readings.state == SourceState(name="rapl-sysfs", up=True)


def test_a_zone_that_was_made_anew_is_opened_anew(tree, source, clock, monkeypatch):
    """The descriptor of a zone whose driver was reloaded stays dead for good; the path is alive again."""
    path, pread = tree.powercap / "intel-rapl:0" / "energy_uj", os.pread
    dead = path.stat().st_ino

    def pread_of_the_living(descriptor, *arguments):
        if os.fstat(descriptor).st_ino == dead:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return pread(descriptor, *arguments)

    monkeypatch.setattr(zone_meter.os, "pread", pread_of_the_living)
    path.rename(tree.sysfs / "kept-so-that-its-number-is-not-used-again")
    tree.set("intel-rapl:0", 3_000_000)
    readings = source.read(0)
    assert [row.mono_ns for row in readings.rows if row.zone.name == "package"] == [NOW_NS]
    clock.advance(1)
    assert fresh(source.read(0), readings) == {"package 0": 2_000_000, "dram 0": 0}


@pytest.mark.parametrize("content", ["", "\n", "-5\n", "1e6\n", "12 34\n", "unknown\n"])
def test_garbage_is_no_measurement(tree, source, clock, content):
    """A text that is no number is no reading, not even one of 0."""
    before = source.read(0)
    clock.advance(1)
    (tree.powercap / "intel-rapl:0" / "energy_uj").write_text(content, encoding="ascii")
    readings = source.read(0)
    assert fresh(readings, before) == {"dram 0": 0}
    assert "expected decimal microjoules" in readings.state.reason


def test_an_impossible_reading_has_no_new_row_and_is_said(tree, source, clock):
    """Beyond the range, or at more power than plausible, a reading is refused and the state says why."""
    readings = source.read(0)
    for raw_uj, reason in ((262_143_328_851, "its range"), (30_000_000_000, "1000 W")):
        clock.advance(1)
        tree.set("intel-rapl:0", raw_uj)
        before, readings = readings, source.read(0)
        assert fresh(readings, before) == {"dram 0": 0}
        assert not readings.state.up
        assert reason in readings.state.reason
        assert [note.event for note in readings.notes] == ["refused"]
        assert readings.notes[0].fields["raw_uj"] == raw_uj
    clock.advance(1)
    tree.set("intel-rapl:0", 101_000_000)
    assert energies(source.read(0))["package 0"] == 100_000_000


def test_a_counter_that_shows_only_the_impossible_is_absent(tree, source, clock):
    """From the third reading in a row on: its last row stays, and no reader waits for a newer one."""
    absent = []
    for raw_uj in (262_143_328_851, 262_143_328_900, 262_143_328_860, 262_143_328_999, 90_000_000):
        clock.advance(1)
        tree.set("intel-rapl:0", raw_uj)
        absent.append([(one.zone, one.why) for one in source.read(0).absent])
    assert absent == [[], [], *[[("package", "unreadable")]] * 2, []]


def opened(sysfs, former=None) -> RaplSysfs:
    return open_source(PowerSettings(path_sysfs=sysfs), former or Former(), NOW_NS)


def test_unreadable_counters_are_reported_with_a_cure(tree, monkeypatch):
    """Where only root may read there is no zone, and the reason says what to do."""
    monkeypatch.setattr(zone_meter.os, "open", _permission_denied)
    source = opened(tree.sysfs)
    assert source.zones == []
    readings = source.read(NOW_NS)
    assert (readings.rows, readings.state.name, readings.state.up) == ([], "rapl-sysfs", False)
    assert "Permission denied" in readings.state.reason
    assert "start power as root" in readings.state.reason


def _permission_denied(path, *_arguments):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_a_directory_in_place_of_a_counter_is_unreadable(tree):
    """Whatever can't be read as a counter is no meter."""
    for counter in tree.powercap.rglob("energy_uj"):
        counter.unlink()
        counter.mkdir()
    assert "Is a directory" in opened(tree.sysfs).read(NOW_NS).state.reason


def test_no_rapl_at_all_is_said_as_that(tmp_path):
    """A machine without RAPL is told apart from one whose RAPL is broken."""
    readings = opened(tmp_path).read(NOW_NS)
    assert (readings.state.up, list(readings.absent)) == (False, [])
    assert f"no intel-rapl zones in {tmp_path}/class/powercap" in readings.state.reason
    assert "bare metal" in readings.state.reason


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EACCES])
def test_a_zone_that_is_unreadable_from_the_start_is_absent_until_it_heals(tree, clock, monkeypatch, number):
    """It is named with its reason, the source is down, and it counts from its first reading on."""
    with monkeypatch.context() as patch:
        failing(patch, tree.powercap / "intel-rapl:0" / "energy_uj", number)
        source = opened(tree.sysfs)
        assert [str(zone) for zone in source.zones] == ["dram 0"]
        clock.advance(1)
        readings = source.read(clock.now_ns)
        assert energies(readings) == {"dram 0": 0}
        (absent,) = readings.absent
        assert (absent.source, absent.zone, absent.index, absent.why) == (
            *("rapl-sysfs", "package", "0"),
            "unreadable",
        )
        assert os.strerror(number) in absent.reason
        assert not readings.state.up
        assert absent.reason in readings.state.reason
    clock.advance(1)
    healed_ns = clock.now_ns
    readings = source.read(healed_ns)
    assert energies(readings) == {"package 0": 0, "dram 0": 0}
    assert {str(row.zone): row.epoch for row in readings.rows} == {"package 0": healed_ns, "dram 0": NOW_NS}
    assert (readings.state.up, list(readings.absent)) == (True, [])
    source.close()


@pytest.mark.parametrize("kills", [0, 2])
def test_a_directory_that_can_not_be_read_has_not_gone(tree, clock, kills):
    """Its name fails as well as its counter: the zone keeps its row and its epoch, over kills too."""
    settings = PowerSettings(path_sysfs=tree.sysfs)
    source = open_source(settings, Former(), NOW_NS)
    clock.advance(1)
    before = {row.zone: row for row in source.read(clock.now_ns).rows}
    dram = tree.powercap / "intel-rapl:0" / "intel-rapl:0:0"
    name = (dram / "name").read_text(encoding="ascii")
    (dram / "energy_uj").write_text("", encoding="ascii")
    (dram / "name").unlink()
    for _tick in range(3):
        clock.advance(1)
        readings = source.read(clock.now_ns)
    for _kill in range(kills):
        rows = {row.zone: row for row in readings.rows}
        source = open_source(settings, Former(1, rows), clock.now_ns)
        clock.advance(1)
        readings = source.read(clock.now_ns)
    assert {row.zone for row in readings.rows} == {*before}
    assert ("dram", "0") in {(one.zone, one.index) for one in readings.absent}
    (dram / "name").write_text(name, encoding="ascii")
    tree.set("intel-rapl:0/intel-rapl:0:0", 9_000_000)
    clock.advance(1)
    (row,) = [row for row in source.read(clock.now_ns).rows if row.zone.name == "dram"]
    assert (row.energy_uj, row.epoch, row.gaps) == (7_000_000, before[row.zone].epoch, 0)


def test_a_meter_without_a_name_is_absent_until_it_heals(tree, clock):
    """Its zone isn't known, so its directory is named."""
    name = tree.powercap / "intel-rapl:0" / "name"
    name.rename(tree.sysfs / "name")
    source = opened(tree.sysfs)
    readings = source.read(clock.now_ns)
    assert {(one.zone, one.index) for one in readings.absent} == {
        ("", "intel-rapl:0"),
        ("", "intel-rapl:0:0"),
    }
    assert not readings.state.up
    (tree.sysfs / "name").rename(name)
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert energies(readings) == {"package 0": 0, "dram 0": 0}
    assert readings.state.up
    source.close()


def test_zones_that_appear_are_taken_at_the_next_reading(tree, source, clock):
    """Each with an epoch of its own; what is there already goes on."""
    source.read(clock.now_ns)
    tree.zone("intel-rapl:1", "package-1", energy_uj=700_000_000)
    tree.set("intel-rapl:0", 3_000_000)
    clock.advance(1)
    appeared_ns = clock.now_ns
    readings = source.read(appeared_ns)
    assert energies(readings) == {"package 0": 2_000_000, "dram 0": 0, "package 1": 0}
    epochs = {str(row.zone): row.epoch for row in readings.rows}
    assert epochs == {"package 0": NOW_NS, "dram 0": NOW_NS, "package 1": appeared_ns}
    assert [note.event for note in readings.notes] == ["zone_found"]
    tree.set("intel-rapl:1", 720_000_000)
    clock.advance(1)
    assert energies(source.read(clock.now_ns))["package 1"] == 20_000_000


def test_zones_that_have_gone_are_no_fault(tree, source, clock):
    """A socket that was switched off has no row and isn't missing; back again, it goes on where it was."""
    tree.zone("intel-rapl:1", "package-1", energy_uj=700_000_000)
    source.read(clock.now_ns)
    gone = tree.powercap / "intel-rapl:1"
    gone.rename(tree.sysfs / "gone")
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert set(energies(readings)) == {"package 0", "dram 0"}
    assert (readings.state.up, list(readings.absent)) == (True, [])
    assert [note.event for note in readings.notes] == ["zone_gone"]
    (tree.sysfs / "gone").rename(gone)
    tree.set("intel-rapl:1", 705_000_000)
    clock.advance(1)
    assert energies(source.read(clock.now_ns))["package 1"] == 5_000_000


def test_a_zone_that_comes_back_with_its_counter_begun_anew_is_a_gap(tree, source, clock):
    """Its fall is no wrap, although one is possible in that time: energy is never invented."""
    tree.zone("intel-rapl:1", "package-1", energy_uj=209_714_663_080)
    source.read(clock.now_ns)
    gone = tree.powercap / "intel-rapl:1"
    gone.rename(tree.sysfs / "gone")
    clock.advance(1)
    source.read(clock.now_ns)
    clock.advance(200)
    (tree.sysfs / "gone").rename(gone)
    tree.set("intel-rapl:0", 60_000_000)
    tree.set("intel-rapl:1", 5)
    (row,) = (row for row in source.read(clock.now_ns).rows if row.zone.index == "1")
    assert (row.energy_uj, row.gaps) == (0, 1)
    tree.set("intel-rapl:1", 30_000_005)
    clock.advance(1)
    (row,) = (row for row in source.read(clock.now_ns).rows if row.zone.index == "1")
    assert (row.energy_uj, row.gaps) == (30_000_000, 1)


def test_power_above_any_rating_is_no_fault_of_the_meter(tree, source, clock):
    """While it waits to be confirmed the source is up."""
    source.read(clock.now_ns)
    for second in range(1, 7):
        clock.advance(1)
        tree.set("intel-rapl:0", 1_000_000 + second * 560_000_000)
        readings = source.read(clock.now_ns)
        assert (readings.state.up, readings.state.reason, list(readings.absent)) == (True, "", [])
    assert energies(readings)["package 0"] == 6 * 560_000_000


def test_looking_for_zones_costs_one_listing(source, clock, monkeypatch):
    """While nothing changes, no zone's directory is looked into again."""
    looks = []
    monkeypatch.setattr(rapl_sysfs, "find_zones", lambda *_arguments: looks.append(1))
    for _tick in range(5):
        clock.advance(1)
        assert source.read(clock.now_ns).state.up
    assert looks == []


def test_no_more_zones_are_taken_than_a_frame_has(tree, clock):
    """Zones beyond 256 are left out, and that is said."""
    for number in range(1, 300):
        tree.zone(f"intel-rapl:{number}", f"package-{number}", energy_uj=100_000_000 * number)
    source = opened(tree.sysfs)
    readings = source.read(clock.now_ns + 1)
    assert len(source.zones) == ZONES_MAX
    assert any("expected at most 256 zones" in note.cause for note in readings.notes)
    source.close()


def test_series_that_have_ended_begin_in_a_new_epoch(tree, source, clock):
    """When another source has stood in, none of its time is counted again."""
    source.read(clock.now_ns)
    source.begin_again()
    tree.set("intel-rapl:0", 900_000_000)
    clock.advance(1)
    readings = source.read(clock.now_ns)
    assert energies(readings) == {"package 0": 0, "dram 0": 0}
    assert {row.epoch for row in readings.rows} == {clock.now_ns}


def test_parse_takes_what_the_kernel_writes():
    """Decimal digits and a newline."""
    assert parse_uj(b"262143328850\n") == 262_143_328_850
