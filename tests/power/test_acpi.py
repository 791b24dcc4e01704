# SPDX-License-Identifier: Apache-2.0
"""The ACPI power meter of a server: one meter is the platform, its sentinels are no power."""

import pytest

from services.power import acpi

from .hwmon_world import ERRORS, HwmonTree, Rig, W, ramp, ramp_uj

SYSTEM = "LNXSYSTM:00/LNXSYBUS:00"


@pytest.fixture
def tree(tmp_path):
    return HwmonTree(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, acpi)


def meter(tree, number=0, power_uw=200 * W, *, hwmon=None, measures=(), is_old=True, **files):
    place = tree.chip(
        "power_meter",
        f"{SYSTEM}/ACPI000D:{number:02x}",
        number if hwmon is None else hwmon,
        {"power1_average": power_uw, "power1_average_interval": 1000, "power1_is_battery": 0} | files,
        is_old=is_old,
    )
    if measures:
        (place / "measures").mkdir()
        for name in measures:
            (place / "measures" / name).symlink_to("/nowhere")
    return place


@pytest.mark.parametrize("hwmon", [0, 2, 17])
@pytest.mark.parametrize("is_old", [True, False])
def test_one_meter_is_the_platform(tree, rig, hwmon, is_old):
    """Whatever its hwmonN is (Kepler looks at hwmon2), and if its files are the chip's or the device's."""
    place = meter(tree, hwmon=hwmon, is_old=is_old)
    rig.law(place / "power1_average", ramp(200 * W, W))
    rig.open().ticks((1.0, 1.0, 4.0))
    row = rig.row("platform", "ACPI000D:00")
    assert row.zone.source == "acpi"
    assert row.mono_ns == rig.clock.now_ns - 500_000_000
    assert row.energy_uj == ramp_uj(200 * W, W, 0, 6)
    assert abs(row.energy_uj - ramp_uj(200 * W, W, 0, 6)) <= row.integration_uj


def test_power_is_not_cut_to_whole_milliwatts(tree, rig):
    """Kepler divides µW by 1000 and takes 3 s: here 999 µW for 10.5 s are 10,489 µJ."""
    meter(tree, power_uw=999)
    rig.open().ticks((0.5, 10.0))
    assert rig.row("platform", "ACPI000D:00").energy_uj == 999 * 105 // 10


@pytest.mark.parametrize(
    "power_uw",
    [
        0,  # for ever, as from firmware that never answers
        4294967295000,  # 0xFFFFFFFF mW: "no reading"
        4294967295,
        2147483647000,
        18446744073709550616,  # all bits of 64 set, times 1000
        160_000 * W,  # as was seen on a server
        -1,
    ],
)
def test_sentinels_are_no_power(tree, rig, power_uw):
    """They are rejected with the reason, at the start as later, and never become energy."""
    place = meter(tree, power_uw=power_uw)
    readings = rig.open().ticks((1,) * 5)
    assert [row.energy_uj for row in readings.rows] == []
    assert not readings.state.up
    assert "expected" in readings.state.reason
    rig.law(place / "power1_average", lambda _ns: 100 * W)
    rig.ticks((1, 1))
    assert rig.last.state.up
    rig.law(place / "power1_average", lambda _ns: power_uw)
    readings = rig.ticks((1,) * 5)
    assert readings.rows[0].energy_uj == 100 * W
    assert not readings.state.up


def test_the_meter_of_the_whole_system_counts_alone(tree, rig):
    r"""Of several meters that of \_SB counts; parts and batteries never do, and nothing is added."""
    meter(tree, 0, 300 * W)
    meter(tree, 1, 500 * W, measures=["LNXSYBUS:00"])
    meter(tree, 2, 100 * W, measures=["LNXCPU:00", "LNXCPU:01"])
    meter(tree, 3, 90 * W, power1_is_battery=1)
    rig.open().tick()
    assert rig.zones() == ["platform ACPI000D:01"]
    assert rig.row("platform", "ACPI000D:01").energy_uj == 500 * W
    causes = " ".join(note.cause for note in rig.notes)
    assert "it measures LNXCPU:00, LNXCPU:01" in causes
    assert "it measures a battery" in causes
    assert "not counted, since ACPI000D:01 measures the whole machine" in causes


def test_two_meters_that_say_nothing(tree, rig):
    """The first by its device's name counts, in whichever order the driver found them."""
    meter(tree, 1, 250 * W, hwmon=0)
    meter(tree, 0, 260 * W, hwmon=1)
    rig.open().tick()
    assert rig.zones() == ["platform ACPI000D:00"]


def test_only_meters_of_parts(tree, rig):
    """Meters of some devices aren't the platform, not even together."""
    meter(tree, 0, measures=["device:01"])
    assert "expected a chip power_meter of the whole machine" in rig.open().tick().state.reason
    assert rig.zones() == []


def test_a_users_rule_goes_first(tree, rig):
    """A meter that a rule for hwmon chips is about is that rule's, and no platform of this source."""
    meter(tree)
    rules = tree.sysfs / "rules.toml"
    rules.write_text('[[rule]]\nchip = "power_meter"\nzone = "none"\n', encoding="ascii")
    rig.settings = type(rig.settings)(path_sysfs=tree.sysfs, hwmon_rules=str(rules))
    rig.open().tick()
    assert rig.zones() == []


def test_a_tree_without_class_hwmon(tree, rig):
    """The driver's own directory has the meters as well."""
    meter(tree)
    driver = tree.sysfs / "bus/acpi/drivers/power_meter"
    driver.mkdir(parents=True)
    (driver / "ACPI000D:00").symlink_to(tree.sysfs / "devices" / SYSTEM / "ACPI000D:00")
    (tree.classes / "hwmon0").unlink()
    tree.classes.rmdir()
    rig.open().tick()
    assert rig.zones() == ["platform ACPI000D:00"]


def test_an_average_over_five_minutes(tree, rig):
    """Its energy is known once in its interval, at its middle; the row says how often to expect it."""
    meter(tree, power1_average_interval=300_000)
    rig.open().ticks((1.0,) * 299)
    row = rig.row("platform", "ACPI000D:00")
    assert (row.energy_uj, row.period_ns) == (0, 300_000_000_000)
    rig.tick()
    assert rig.row("platform", "ACPI000D:00").energy_uj == 300 * 200 * W
    assert rig.row("platform", "ACPI000D:00").gaps == 0


@pytest.mark.parametrize("number", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("file", ["power1_average", "power1_average_interval"])
def test_a_file_that_can_not_be_read(tree, rig, file, number):
    """Of the average or of its interval: the zone is absent with the reason, and comes back."""
    place = meter(tree)
    rig.open().tick()
    rig.fail(place / file, number)
    before = list(rig.last.rows)
    readings = rig.ticks((11, 1))
    assert list(readings.rows) == before
    assert readings.absent[0].zone == "platform"
    assert file in readings.absent[0].reason
    assert not readings.state.up
    rig.fail(place / file, None)
    assert rig.ticks((11, 1)).state.up


@pytest.mark.parametrize("interval", ["", "forever", "-5", "3600001"])
def test_an_interval_that_is_none(tree, rig, interval):
    """Without the interval the time of its average is unknown: no reading."""
    meter(tree, power1_average_interval=interval)
    readings = rig.open().tick()
    assert readings.rows == []
    assert "power1_average_interval: expected" in readings.state.reason


def test_a_meter_that_comes_back_with_another_number(tree, rig):
    """hwmon2 becomes hwmon4: the same device, the same zone and epoch."""
    meter(tree, hwmon=2)
    rig.open().tick()
    epoch = rig.row("platform", "ACPI000D:00").epoch
    tree.remove(2)
    rig.ticks((1, 1))
    assert rig.last.rows == []
    meter(tree, hwmon=4)
    rig.ticks((11, 1))
    row = rig.row("platform", "ACPI000D:00")
    assert (row.epoch, row.gaps) == (epoch, 1)
    assert row.energy_uj == 200 * W * 2


def test_a_restart(tree, rig):
    """A new process goes on in the epoch, over a pause that a straight line may bridge."""
    meter(tree)
    rig.open().ticks((1, 1))
    rig.clock.advance(5)
    rig.restart().tick()
    assert rig.row("platform", "ACPI000D:00").energy_uj == 200 * W * 8
    rig.clock.advance(50)
    rig.restart().tick()
    row = rig.row("platform", "ACPI000D:00")
    assert (row.gaps, row.energy_uj) == (1, 200 * W * 9)
