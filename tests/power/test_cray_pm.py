# SPDX-License-Identifier: Apache-2.0
"""Cray's pm_counters: three zones of one set, to the joule that they show."""

import pytest

from services.power import cray_pm

from .hwmon_world import ERRORS, Rig
from .world import S

JOULE = 1_000_000
LAWS = {"energy": 700, "cpu_energy": 300, "memory_energy": 60, "accel0_energy": 250}  # W
ZONES = {"energy": "platform", "cpu_energy": "package", "memory_energy": "dram"}


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, cray_pm)


@pytest.fixture
def node(tmp_path, rig):
    """A node's files, renewed 10 times a second."""
    directory = tmp_path / "cray" / "pm_counters"
    directory.mkdir(parents=True)
    for name, power_w in LAWS.items():
        rig.law(directory / name, counter(power_w))
    rig.law(directory / "freshness", lambda ns: 5000 + ns // (S // 10))
    for name, text in {"startup": "1 1700000000000000 us", "generation": "42", "version": "3"}.items():
        (directory / name).write_text(f"{text}\n", encoding="ascii")
    return directory


def counter(power_w, start_j=9_000_000):
    def law(ns):
        renewed_ns = ns // (S // 10) * (S // 10)
        return f"{start_j + power_w * renewed_ns // S} J 17000000{renewed_ns // 1000:08} us"

    return law


def test_each_zone_is_its_counter(node, rig):
    """Joules as they are shown, as the differences of counters; accelerators are no zones here."""
    rig.open().ticks((1.0, 0.7, 3.3, 1.0))
    assert rig.zones() == ["dram node", "package node", "platform node"]
    for name, zone in ZONES.items():
        row = rig.row(zone, "node")
        assert (row.energy_uj, row.gaps) == (LAWS[name] * 6 * JOULE, 0)
        assert row.zone.source == "cray-pm"


def test_without_times_and_freshness(node, rig):
    """Older systems show neither: the counters are read all the same."""
    (node / "freshness").unlink()
    for name in ("energy", "cpu_energy"):
        rig.law(node / name, lambda ns: f"{1000 + 7 * ns // S} J")
    (node / "memory_energy").unlink()
    del rig.laws[node / "freshness"]
    rig.open().ticks((1, 2))
    assert rig.zones() == ["package node", "platform node"]
    assert rig.row("platform", "node").energy_uj == 21 * JOULE


def test_no_new_reading_while_freshness_stands(node, rig):
    """Ticks faster than the controller repeat rows; they don't say that power was 0."""
    rig.open().tick()
    before = rig.last.rows
    readings = rig.tick(0.05)
    assert list(readings.rows) == list(before)
    assert readings.state.up
    rig.tick(0.05)
    assert rig.row("platform", "node").mono_ns == rig.clock.now_ns


def test_a_controller_that_has_stopped(node, rig):
    """Freshness that stands for more than 5 s: absent with the reason, and no gap once it goes on."""
    rig.open().tick()
    rig.laws[node / "freshness"] = lambda _ns: 5010
    assert rig.ticks((1,) * 5).state.up
    readings = rig.tick()
    assert not readings.state.up
    assert {one.zone for one in readings.absent} == set(ZONES.values())
    assert "has stopped measuring" in readings.state.reason
    rig.laws[node / "freshness"] = lambda ns: 5000 + ns // (S // 10)
    assert rig.tick().state.up
    assert rig.row("platform", "node").energy_uj == 700 * 8 * JOULE


def test_a_torn_set_is_read_again(node, rig, monkeypatch):
    """If the controller renews the files while they are read, all are read once more."""
    rig.open().tick()
    real = cray_pm.read_text
    reads = []

    def renewed_amid(path):
        text = real(path)
        reads.append(path.name)
        if len(reads) == 1:  # after the first file: a renewal
            rig.clock.advance(0.1)
            rig._obey()
        return text

    monkeypatch.setattr(cray_pm, "read_text", renewed_amid)
    rig.tick()
    assert reads == [*ZONES_READ, *ZONES_READ]
    rows = {row.zone.name: row for row in rig.last.rows}
    assert {row.mono_ns for row in rows.values()} == {rig.clock.now_ns}
    assert [rows[zone].energy_uj for zone in ("platform", "package", "dram")] == [
        1470 * JOULE,
        630 * JOULE,
        126 * JOULE,
    ]


ZONES_READ = ("cpu_energy", "memory_energy", "energy")


def test_a_set_that_is_always_torn(node, rig, monkeypatch):
    """After three tries there is no reading, with the reason: never energy of two times."""
    rig.open().tick()
    before = list(rig.last.rows)
    numbers = iter(range(10_000, 20_000))
    monkeypatch.setattr(cray_pm, "read_natural", lambda *_: next(numbers))
    readings = rig.tick()
    assert list(readings.rows) == before
    assert "it moved 3 times" in readings.state.reason


@pytest.mark.parametrize(
    "text", ["", "garbage", "12", "12 W 17 us", "-5 J 17 us", "1.5 J", "0 J 17 us", "9" * 14 + " J"]
)
def test_a_text_that_is_no_energy(node, rig, text):
    """One file's garbage is that zone's only: the others go on."""
    rig.open().tick()
    rig.laws[node / "energy"] = lambda _ns: text
    readings = rig.ticks((1, 1))
    assert [one.zone for one in readings.absent] == ["platform"]
    assert "expected" in readings.absent[0].reason
    assert rig.row("platform", "node").energy_uj == 700 * JOULE
    assert rig.row("package", "node").energy_uj == 900 * JOULE


@pytest.mark.parametrize("number", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("file", ["energy", "freshness"])
def test_a_file_that_can_not_be_read(node, rig, file, number):
    """The zone, or all without freshness, are absent with the reason; nothing is lost when it is back."""
    rig.open().tick()
    rig.fail(node / file, number)
    readings = rig.tick()
    assert {one.zone for one in readings.absent} == (
        {"platform"} if file == "energy" else set(ZONES.values())
    )
    rig.fail(node / file, None)
    assert rig.tick().state.up
    assert rig.row("platform", "node").energy_uj == 2100 * JOULE


def test_counters_that_begin_anew(node, rig):
    """The controller starts again at 0: a gap, and from there on all is counted."""
    rig.open().tick()
    for name in ZONES:
        rig.laws[node / name] = counter(LAWS[name], 5)
    rig.ticks((1, 1, 1))
    for name, zone in ZONES.items():
        row = rig.row(zone, "node")
        assert row.gaps == 1
        assert row.energy_uj == LAWS[name] * 3 * JOULE


def test_a_restart(node, rig):
    """A new process goes on from the last figures, and loses nothing of the pause."""
    rig.open().tick()
    rig.clock.advance(1000)
    rig.restart().tick()
    row = rig.row("platform", "node")
    assert (row.energy_uj, row.gaps) == (700 * 1002 * JOULE, 0)


def test_no_cray_node(tmp_path, rig):
    """Without the directory: no zone and a reason."""
    assert "this is no HPE Cray node" in rig.open().tick().state.reason


def test_the_files_come_late(rig, tmp_path):
    """The module is loaded after power has started: the zones begin then."""
    rig.open().tick()
    directory = tmp_path / "cray" / "pm_counters"
    directory.mkdir(parents=True)
    rig.law(directory / "energy", counter(500))
    rig.ticks((10, 1))
    assert rig.row("platform", "node").energy_uj == 500 * JOULE
