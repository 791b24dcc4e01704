# SPDX-License-Identifier: Apache-2.0
"""Batteries: one platform zone that goes on only while they alone feed the machine."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.power import battery

from .hwmon_world import ERRORS, Rig, W, ramp, ramp_uj


class Supplies:
    """A class/power_supply of plain files."""

    def __init__(self, sysfs):
        self.directory = sysfs / "class" / "power_supply"
        self.directory.mkdir(parents=True)

    def add(self, name, kind, **files):
        (self.directory / name).mkdir()
        self.set(name, type=kind, **files)
        return self.directory / name

    def battery(self, name="BAT0", **files):
        return self.add(name, "Battery", **({"status": "Discharging", "power_now": 10 * W} | files))

    def set(self, name, **files):
        for file, content in files.items():
            (self.directory / name / file).write_text(f"{content}\n", encoding="utf-8")


@pytest.fixture
def supplies(tmp_path):
    return Supplies(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, battery)


def row(rig):
    return rig.row("platform", "battery")


def test_one_battery(supplies, rig):
    """The integral of power_now over real time, with the error that is published."""
    rig.law(supplies.battery() / "power_now", ramp(10 * W, W))
    rig.open().ticks((1.0, 0.5, 2.5))
    assert row(rig).energy_uj == ramp_uj(10 * W, W, 0, 4)
    assert row(rig).zone.source == "battery"
    assert rig.last.state.up
    assert rig.source.zones == [row(rig).zone]


@given(st.lists(st.tuples(st.integers(20, 5000), st.integers(1, 90)), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_steps_are_within_the_published_error(tmp_path_factory, steps):
    """Whenever power stepped between two readings, the row is off by at most integration_uj."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        sysfs = tmp_path_factory.mktemp("sys")
        supplies = Supplies(sysfs)
        supplies.battery()
        rig = Rig(monkeypatch, sysfs, battery).open()
        late_uj, early_uj, power_w = 0, 0, 10
        for milliseconds, new_w in steps:
            late_uj += power_w * 1000 * milliseconds
            early_uj += new_w * 1000 * milliseconds
            supplies.set("BAT0", power_now=new_w * W)
            power_w = new_w
            rig.tick(milliseconds / 1000)
        for true_uj in (late_uj, early_uj):
            assert abs(row(rig).energy_uj - true_uj) <= row(rig).integration_uj + 2


@pytest.mark.parametrize("sign", [1, -1])
def test_current_and_voltage(supplies, rig, sign):
    """µA × µV where there is no power_now; some drivers show what flows out as negative."""
    place = supplies.battery(current_now=sign * 1_500_000, voltage_now=12_000_000)
    (place / "power_now").unlink()
    rig.open().ticks((1, 1))
    assert row(rig).energy_uj == 36 * W


def test_several_batteries_are_one_row(supplies, rig):
    """What they give together is the machine's power; one that rests gives nothing."""
    supplies.battery("BAT0", power_now=6 * W)
    supplies.battery("BAT1", power_now=-5 * W)
    supplies.battery("BAT2", status="Not charging", power_now=9 * W)
    rig.open().tick()
    assert [str(one.zone) for one in rig.last.rows] == ["platform battery"]
    assert row(rig).energy_uj == 11 * W


def test_a_part_of_a_sum_is_no_sum(supplies, rig):
    """If one of two batteries can't be read, there is no reading: half the power isn't the machine's."""
    supplies.battery("BAT0")
    other = supplies.battery("BAT1")
    rig.open().tick()
    rig.fail(other / "power_now", ERRORS["ENODEV"])
    readings = rig.ticks((1, 1))
    assert row(rig).energy_uj == 20 * W
    assert (readings.absent[0].zone, readings.state.up) == ("platform", False)
    assert "BAT1/power_now" in readings.absent[0].reason
    rig.fail(other / "power_now", None)
    assert rig.tick().state.up
    assert row(rig).energy_uj == 80 * W


@pytest.mark.parametrize(
    ("name", "kind", "files"),
    [
        ("AC", "Mains", {"online": 1}),
        ("ucsi-source-psy-USBC000:001", "USB", {"online": 1}),
        ("dock", "USB_PD", {"online": 1}),
        ("pad", "Wireless", {"online": 1}),
    ],
)
def test_a_plug_is_no_fault(supplies, rig, name, kind, files):
    """With a plug or dock in, the row stays, the source is up, and nothing is absent."""
    supplies.battery()
    supplies.add(name, kind, online=0)
    rig.open().ticks((1, 1))
    before = row(rig)
    supplies.set(name, **files)
    supplies.set("BAT0", status="Charging", power_now=30 * W)
    readings = rig.ticks((1, 1, 1))
    assert readings.rows == [before]
    assert (readings.state.up, readings.state.reason, list(readings.absent)) == (True, "", [])


def test_a_plugged_laptop_at_the_start(supplies, rig):
    """No row yet, and no fault."""
    supplies.battery(status="Full", power_now=0)
    supplies.add("AC", "Mains", online=1)
    readings = rig.open().tick()
    assert (readings.rows, readings.state.up, rig.source.zones) == ([], True, [])


@pytest.mark.parametrize("seconds", [1, 3, 60])
def test_the_time_on_the_plug_is_a_gap(supplies, rig, seconds):
    """However short it was, its energy isn't counted: it came from the plug."""
    supplies.battery()
    supplies.add("AC", "Mains", online=0)
    rig.open().ticks((1, 1))
    supplies.set("AC", online=1)
    rig.ticks((1,) * seconds)
    supplies.set("AC", online=0)
    rig.ticks((1, 1, 1))
    assert (row(rig).energy_uj, row(rig).gaps) == (40 * W, 1)
    assert rig.events().count("paused") == 1


def test_a_weak_plug(supplies, rig):
    """A battery that helps a weak plug gives only a part of the machine's power: no reading."""
    supplies.battery(status="Discharging")
    supplies.add("USB", "USB", online=1)
    assert rig.open().tick().rows == []
    assert rig.last.state.up


@pytest.mark.parametrize("files", [{"scope": "Device"}, {"present": 0}])
def test_what_is_no_battery_of_the_machine(supplies, rig, files):
    """A mouse's battery and an empty bay feed nothing."""
    supplies.battery(**files)
    state = rig.open().tick().state
    assert (rig.last.rows, state.up) == ([], False)
    assert "expected a battery that feeds the machine, got none" in state.reason


def test_a_charging_headset_is_no_plug(supplies, rig):
    """What other devices have says nothing of the machine."""
    supplies.battery()
    supplies.add("hidpp_battery_0", "Battery", scope="Device", status="Charging", online=1)
    rig.open().tick()
    assert row(rig).energy_uj == 10 * W


def test_no_power_supplies_at_all(tmp_path, rig):
    """A server has none: no zone and a reason."""
    assert "got none" in rig.open().tick().state.reason


def test_zero_for_a_moment(supplies, rig):
    """Firmware shows 0 W just after the plug is pulled: no reading. If it stays, that is a fault."""
    supplies.battery(power_now=0)
    readings = rig.open().ticks((1,) * 4)
    assert (readings.rows, readings.state.up) == ([], True)
    readings = rig.ticks((1, 1))
    assert not readings.state.up
    assert "expected more than 0 W" in readings.state.reason
    supplies.set("BAT0", power_now=10 * W)
    rig.ticks((1, 1))
    assert (row(rig).energy_uj, rig.last.state.up) == (10 * W, True)


@pytest.mark.parametrize("text", ["", "garbage", "4294967295000", "2147483647", str(50_000 * W), "1.5"])
def test_a_figure_that_is_no_power(supplies, rig, text):
    """It is rejected with the reason and never counted."""
    supplies.battery()
    rig.open().tick()
    supplies.set("BAT0", power_now=text)
    readings = rig.ticks((1, 1))
    assert row(rig).energy_uj == 10 * W
    assert not readings.state.up
    assert "expected" in readings.state.reason


@pytest.mark.parametrize("number", ERRORS.values(), ids=ERRORS)
def test_a_status_that_can_not_be_read(supplies, rig, number):
    """Without it, what feeds the machine is unknown: absent with the reason."""
    place = supplies.battery()
    rig.open().tick()
    rig.fail(place / "status", number)
    assert not rig.tick().state.up
    assert rig.last.absent[0].zone == "platform"


def test_a_battery_that_is_pulled(supplies, rig):
    """No battery, no zone; its row stays as it was, and the reason says so."""
    place = supplies.battery()
    rig.open().tick()
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    readings = rig.tick()
    assert row(rig).energy_uj == 10 * W
    assert "got none" in readings.state.reason


def test_a_restart(supplies, rig):
    """A new process goes on in the epoch; a pause of its own that is too long is a gap."""
    supplies.battery()
    rig.open().ticks((1, 1))
    epoch = row(rig).epoch
    rig.clock.advance(4)
    rig.restart().tick()
    assert rig.source.resumed
    assert (row(rig).energy_uj, row(rig).epoch, row(rig).gaps) == (70 * W, epoch, 0)
    rig.clock.advance(400)
    rig.restart().tick()
    assert (row(rig).energy_uj, row(rig).gaps) == (80 * W, 1)
    assert [note.level.name for note in rig.notes if note.event == "gap"] == ["INFO"]


def test_a_restart_keeps_the_known_error(supplies, rig):
    """How far off the energy may be goes on with it."""
    rig.law(supplies.battery() / "power_now", ramp(10 * W, W))
    rig.open().ticks((1, 1))
    before_uj = row(rig).integration_uj
    assert before_uj == W
    rig.restart().tick()
    assert row(rig).integration_uj == before_uj + W // 2


def test_one_battery_charges_the_other(supplies, rig):
    """What a battery gives is then not what the machine draws, plug or not: no reading, no fault."""
    supplies.battery("BAT0")
    supplies.battery("BAT1", status="Charging")
    assert rig.open().tick().rows == []
    assert rig.last.state.up


@given(st.lists(st.tuples(st.booleans(), st.integers(20, 4000)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_spells_on_battery_count(tmp_path_factory, ticks):
    """However often the plug goes in and out: energy is that between two readings in a row on battery."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        sysfs = tmp_path_factory.mktemp("sys")
        supplies = Supplies(sysfs)
        supplies.battery()
        supplies.add("AC", "Mains", online=0)
        rig = Rig(monkeypatch, sysfs, battery).open()
        was_on, expected_uj, spells = True, 0, 0
        for is_on, milliseconds in ticks:
            supplies.set("AC", online=int(not is_on))
            rig.tick(milliseconds / 1000)
            expected_uj += 10 * 1000 * milliseconds * (is_on and was_on)
            spells += is_on and not was_on
            was_on = is_on
        rows = rig.last.rows
        assert sum(one.energy_uj for one in rows) == expected_uj
        assert all(one.gaps == spells for one in rows)


def test_a_long_pause_while_it_runs_is_counted_as_an_error(supplies, rig):
    """A gap that no restart explains is a warning."""
    supplies.battery()
    rig.open().ticks((1, 100))
    assert [note.level.name for note in rig.notes if note.event == "gap"] == ["COUNTED"]


def test_begin_again(supplies, rig):
    """After another source took over, the zone begins at 0 in a new epoch."""
    supplies.battery()
    rig.open().ticks((1, 1))
    rig.source.begin_again()
    assert rig.source.zones == []
    rig.ticks((1, 1))
    assert (row(rig).energy_uj, row(rig).epoch) == (10 * W, rig.clock.now_ns - 1_000_000_000)
