# SPDX-License-Identifier: Apache-2.0
"""hwmon chips by rules: each zone is what its law says, whatever the drivers and their numbers do."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.power import hwmon

from .hwmon_world import ERRORS, HwmonTree, Rig, W, ramp, ramp_uj, zone
from .world import S

UNEVEN = (1.0, 0.7, 1.9, 3.0, 0.02, 1.1)
AMD = "platform/amd_energy.0"
JETSON = "platform/bus@0/c240000.i2c/i2c-1/1-0040"


@pytest.fixture
def tree(tmp_path):
    return HwmonTree(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, hwmon)


def watts(power_w: int, start_uj: int = 5_000_000):
    """A counter of constant power, which is not a whole number of µJ in a tick."""
    return lambda elapsed_ns: start_uj + (power_w * elapsed_ns + 123) // 1000


def amd(tree, number=2, sockets=2):
    files = {"energy1_label": "Ecore000", "energy1_input": 77}
    for socket in range(sockets):
        files |= {f"energy{socket + 2}_label": f"Esocket{socket}", f"energy{socket + 2}_input": 1}
    return tree.chip("amd_energy", AMD, number, files)


def jetson(tree, number=1, device=JETSON):
    files = {}
    for place, label in enumerate(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), 1):
        files |= {f"in{place}_label": label, f"in{place}_input": 5000, f"curr{place}_input": 1000 * place}
    return tree.chip("ina3221", device, number, files)


def test_two_sockets_equal_their_counters_to_the_microjoule(tree, rig):
    """AMD: a socket's zone is its counter's difference, over uneven ticks; cores are within it."""
    chip = amd(tree)
    tree.topology({0: ("0-7", 0), 1: ("8-15", 1)})
    laws = {0: watts(137), 1: watts(91)}
    for socket, law in laws.items():
        rig.law(chip / f"energy{socket + 2}_input", law)
    rig.open().ticks(UNEVEN)
    assert rig.zones() == ["package 0", "package 1"]
    for socket, law in laws.items():
        row = rig.row("package", str(socket))
        assert row.energy_uj == law(rig.elapsed_ns) - law(0)
        assert (row.mono_ns, row.integration_uj, row.gaps) == (rig.clock.now_ns, 0, 0)
    assert rig.last.state.up


def test_a_socket_of_several_numa_nodes_counts_once(tree, rig):
    """The driver shows a socket's counter for each of its NUMA nodes; counting all would multiply energy."""
    amd(tree, sockets=4)
    tree.topology({0: ("0-3", 0), 1: ("4-7", 0), 2: ("8-11", 1), 3: ("12-15", 1)})
    rig.open().tick()
    assert rig.zones() == ["package 0", "package 1"]
    assert rig.row("package", "1").zone == zone("package", "1", "hwmon")
    skipped = [note.cause for note in rig.notes if note.event == "zone_skipped"]
    assert len(skipped) == 2
    assert "NUMA node 1 is of package 0, as is node 0" in skipped[0] or "counted as node 0" in skipped[0]


def test_a_socket_is_not_guessed(tree, rig):
    """Without the topology, a machine of several nodes has no zone that might be another one's again."""
    amd(tree, sockets=2)
    (tree.sysfs / "devices/system/node/node1").mkdir(parents=True)
    rig.open().tick()
    assert rig.zones() == []


def test_jetson_multiplies_volts_and_amperes(tree, rig):
    """mV × mA = µW. VDD_IN is the platform, VDD_CPU_GPU_CV the package, VDD_SOC neither."""
    chip = jetson(tree)
    rig.law(chip / "curr1_input", ramp(1000, 40))
    rig.open().ticks(UNEVEN)
    assert rig.zones() == ["package 0", "platform 0"]
    seconds = rig.elapsed_ns / S
    # mA are whole numbers: each reading may be 1 mA too low.
    assert rig.row("platform", "0").energy_uj == pytest.approx(
        ramp_uj(5 * W, W // 5, 0, seconds), abs=5000 * 8
    )
    assert rig.row("package", "0").energy_uj == 10 * W * rig.elapsed_ns // S
    assert rig.row("package", "0").integration_uj == 0


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("energy1_input", "power1_average", "power1_input"), "energy1_input"),
        (("power1_average", "power1_input"), "power1_average"),
        (("power1_input",), "power1_input"),
    ],
)
def test_energy_before_averages_before_power(tree, rig, tmp_path, files, expected):
    """Of one sensor's files the one that misses least is read."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nchip = "ltc2947"\nzone = "platform"\n', encoding="ascii")
    chip = tree.chip("ltc2947", "i2c-3/3-005c", 0, dict.fromkeys(files, 10 * W))
    rig.settings = type(rig.settings)(path_sysfs=tree.sysfs, hwmon_rules=str(rules))
    rig.open()
    for file in files:
        (chip / file).write_text(f"{(10 + 2 * (file == expected)) * W}\n", encoding="ascii")
    rig.tick()
    assert rig.row("platform", "0").raw == 12 * W


@given(
    steps=st.lists(
        st.tuples(st.integers(20, 5000), st.integers(0, 400), st.booleans()), min_size=2, max_size=30
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gauge_is_within_its_published_error(tmp_path_factory, steps):
    """Power that stays monotonic between readings differs from the row by at most integration_uj."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tree = HwmonTree(tmp_path_factory.mktemp("sys"))
        rig = Rig(monkeypatch, tree.sysfs, hwmon)
        chip = jetson(tree)
        power_uw = 10 * W
        rig.open()
        true_uj = 0
        for milliseconds, watt, is_early in steps:
            new_uw = (watt + 1) * W
            # Power steps either just after the last reading or just before this one.
            true_uj += (new_uw if is_early else power_uw) * milliseconds // 1000
            power_uw = new_uw
            (chip / "curr2_input").write_text(f"{new_uw // 5000}\n", encoding="ascii")
            rig.tick(milliseconds / 1000)
        row = rig.row("package", "0")
        assert abs(row.energy_uj - true_uj) <= row.integration_uj + len(steps)


def test_time_is_real_time(tree, rig):
    """Kepler takes each interval as 3 s, and whole mW: here seconds are the clock's, and µW count."""
    tree_power(tree, 999)
    rig.open().ticks((0.5, 7.0, 2.5))
    assert rig.row("package", "0").energy_uj == 999 * 10


def tree_power(tree, power_uw, number=0):
    """A Jetson whose package draws so little that a division by 1000 would make it 0."""
    return tree.chip(
        "ina3221",
        f"i2c-1/1-004{number}",
        number,
        {"in1_label": "VDD_CPU", "in1_input": 1, "curr1_input": power_uw},
    )


def test_power_of_an_interval_is_no_counter(tree, rig):
    """Kepler books energy per interval as a counter, so that constant power is 0. Here it adds up."""
    tree_power(tree, 10 * W)
    rig.open()
    assert [rig.tick(2).rows[0].energy_uj for _ in range(3)] == [20 * W, 40 * W, 60 * W]


def test_chips_without_a_rule_have_no_zone(tree, rig):
    """What a chip on some board measures is unknown: none is guessed, and the reason names what is there."""
    tree.chip("ina226", "i2c-1/1-0041", 0, {"power1_input": 5 * W})
    tree.chip("nvme", "pci0/nvme0", 1, {"temp1_input": 40_000})
    state = rig.open().tick().state
    assert (rig.zones(), state.up) == ([], False)
    assert "got chips ina226, nvme" in state.reason


def test_a_machine_without_hwmon(tmp_path, rig):
    """No class/hwmon: no zone, no fault, and a reason."""
    assert "got chips none" in rig.open().tick().state.reason
    assert rig.last.absent == []


def test_of_two_equal_sensors_neither_is_taken(tree, rig, tmp_path):
    """Two boards with a VDD_IN: neither is the platform until a rule names the device."""
    jetson(tree, 0, "i2c-1/1-0040")
    jetson(tree, 1, "i2c-7/7-0040")
    rig.open().tick()
    assert rig.zones() == []
    assert any("write rules with device or sensor" in note.cause for note in rig.notes)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nchip="ina3221"\ndevice="7-0040"\nzone="none"\n', encoding="ascii")
    rig.settings = type(rig.settings)(path_sysfs=tree.sysfs, hwmon_rules=str(rules))
    rig.open().tick()
    assert rig.zones() == ["package 0", "platform 0"]


def test_energy_of_one_device_and_power_of_another(tree, rig, tmp_path):
    """They may be two meters of two things: neither is taken by its better file."""
    tree.chip("ltc2947", "i2c-3/3-005c", 0, {"energy1_input": 5 * W})
    tree.chip("ltc2947", "i2c-3/3-005d", 1, {"power1_input": 5 * W})
    (tmp_path / "rules.toml").write_text('[[rule]]\nchip="ltc2947"\nzone="platform"\n', encoding="ascii")
    rig.settings = type(rig.settings)(path_sysfs=tree.sysfs, hwmon_rules=str(tmp_path / "rules.toml"))
    rig.open().tick()
    assert rig.zones() == []
    assert any("expected one sensor, got" in note.cause for note in rig.notes)


FAULTS = st.sampled_from([None, None, "fail", "", "garbage", "0", "-1", str(2**64)])


@given(st.lists(st.tuples(st.integers(20, 9000), FAULTS, st.booleans()), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_fault_costs_a_counter_any_energy(tmp_path_factory, ticks):
    """Whatever fails in between, and whenever power is started again: the next true reading has it all."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tree = HwmonTree(tmp_path_factory.mktemp("sys"))
        rig = Rig(monkeypatch, tree.sysfs, hwmon)
        path = amd(tree, sockets=1) / "energy2_input"
        law = watts(123)
        rig.law(path, law)
        rig.open().tick()
        reached_ns = rig.elapsed_ns
        for milliseconds, fault, is_restart in ticks:
            rig.fail(path, ERRORS["EIO"] if fault == "fail" else None)
            rig.laws[path] = law if fault in {None, "fail"} else lambda _ns, text=fault: text
            if is_restart:
                rig.restart()
            rig.tick(milliseconds / 1000)
            reached_ns = rig.elapsed_ns if fault is None else reached_ns
            row = rig.row("package", "0")
            assert row.energy_uj <= law(rig.elapsed_ns) - law(0)
            assert row.energy_uj >= law(reached_ns) - law(0)
            assert row.gaps == 0
        rig.fail(path, None)
        rig.laws[path] = law
        rig.tick()
        assert rig.row("package", "0").energy_uj == law(rig.elapsed_ns) - law(0)


def test_a_driver_that_comes_back_with_another_number(tree, rig):
    """hwmon2 goes and comes back as hwmon5: the zone goes on in its epoch; a counter begun anew is a gap."""
    law = watts(100, 9_000_000_000)
    chip = amd(tree, 2, sockets=1)
    rig.law(chip / "energy2_input", law)
    rig.open().ticks((1, 1))
    before = rig.row("package", "0")
    tree.remove(2)
    del rig.laws[chip / "energy2_input"]
    state = rig.tick().state
    assert "energy2_input: No such file" in state.reason
    rig.tick()
    assert rig.last.rows == []
    chip = amd(tree, 5, sockets=1)
    rig.law(chip / "energy2_input", lambda ns: 100 * (ns - 4 * S) // 1000 + 50)
    rig.tick(11)
    found_ns = rig.elapsed_ns
    rig.ticks(UNEVEN)
    row = rig.row("package", "0")
    assert row.epoch == before.epoch
    assert row.gaps == 1
    assert row.energy_uj == before.energy_uj + 100 * (rig.elapsed_ns - found_ns) // 1000


def test_another_chip_with_the_old_number_is_never_read(tree, rig):
    """hwmon2 goes, and another chip of the same files is hwmon2 at once: its power isn't the old chip's."""
    tree_power(tree, 10 * W, 2)
    rig.open().tick()
    tree.remove(2)
    other = tree.chip("ina226", "i2c-9/9-0040", 2, {"in1_label": "VDD_CPU", "in1_input": 1})
    tree.write(other, {"curr1_input": 500 * W})
    rig.ticks((1, 1, 1))
    assert rig.last.rows == []
    assert max(note.fields.get("raw", 0) for note in rig.notes) == 0


def test_a_zone_stays_with_its_rule(tree, rig):
    """A sensor of another rule measures something else: it never continues a zone's total."""
    first = tree.chip(
        "ina3221", "i2c-1/1-0040", 0, {"in1_label": "VDD_CPU_CV", "in1_input": 5, "curr1_input": 2}
    )
    second = {"in1_label": "VDD_CPU", "in1_input": 5, "curr1_input": 9000}
    tree.chip("ina3221", "i2c-1/1-0041", 1, second)
    rig.open().tick()
    assert rig.row("package", "0").raw == 10
    assert first.exists()
    tree.remove(0)
    rig.ticks((1, 1, 1))
    assert rig.zones() == []
    assert any("is another meter than before" in note.cause for note in rig.notes)


@pytest.mark.parametrize("number", ERRORS.values(), ids=ERRORS)
def test_a_file_that_can_not_be_read(tree, rig, number):
    """The zone is absent with the reason and keeps its row; when the file comes back, nothing is lost."""
    chip = amd(tree, sockets=1)
    law = watts(50)
    rig.law(chip / "energy2_input", law)
    rig.open().tick()
    row = rig.row("package", "0")
    rig.fail(chip / "energy2_input", number)
    readings = rig.ticks((1, 1, 1))
    assert readings.rows == [row]
    assert not readings.state.up
    (absent,) = readings.absent
    assert (absent.zone, absent.index, absent.why) == ("package", "0", "unreadable")
    assert "energy2_input" in absent.reason
    assert ("CAP_DAC_READ_SEARCH" in absent.reason) == (number == ERRORS["EACCES"])
    rig.fail(chip / "energy2_input", None)
    assert rig.tick().state.up
    assert rig.row("package", "0").energy_uj == law(rig.elapsed_ns) - law(0)


@pytest.mark.parametrize("text", ["", "garbage", "-5", "1.5", "0x10", "1e9", "９", "9" * 30, "0", str(2**63)])
def test_a_text_that_is_no_counter(tree, rig, text):
    """Anything but a whole number is no reading, never 0 and never energy."""
    chip = amd(tree, sockets=1)
    rig.law(chip / "energy2_input", watts(50))
    rig.open().tick()
    row = rig.row("package", "0")
    del rig.laws[chip / "energy2_input"]
    (chip / "energy2_input").write_text(text, encoding="utf-8")
    readings = rig.ticks((1, 1, 1, 1))
    assert readings.rows == [row]
    assert "expected" in readings.absent[0].reason
    assert not readings.state.up


@pytest.mark.parametrize(
    "power_uw", [0, 0xFFFFFFFF, 0xFFFFFFFF * 1000, 0x7FFFFFFF, 0x7FFFFFFF * 1000, 2**64 - 1000, 6000 * W]
)
def test_a_power_that_is_none(tree, rig, power_uw):
    """0, numbers that stand for "no reading" and absurd ones are rejected with the reason."""
    chip = tree_power(tree, 10 * W)
    rig.open().tick()
    (chip / "curr1_input").write_text(f"{power_uw}\n", encoding="ascii")
    readings = rig.ticks((1,) * 5)
    assert readings.rows[0].energy_uj == 10 * W
    assert "expected" in readings.absent[0].reason
    assert not readings.state.up
    (chip / "curr1_input").write_text(f"{20 * W}\n", encoding="ascii")
    assert rig.tick().state.up
    assert rig.row("package", "0").energy_uj == 10 * W + 15 * W * 6


def test_a_sensor_that_says_it_is_broken(tree, rig):
    """A fault file of 1: what the sensor shows is no reading."""
    chip = tree_power(tree, 10 * W)
    tree.write(chip, {"curr1_fault": 0})
    rig.open().tick()
    tree.write(chip, {"curr1_fault": 1})
    readings = rig.tick()
    assert "curr1_fault says that the sensor is broken" in readings.state.reason
    assert readings.rows[0].energy_uj == 10 * W
    tree.write(chip, {"curr1_fault": 0})
    assert rig.tick().state.up


def test_a_pause_is_not_bridged(tree, rig):
    """After more than 10 s without a reading, what power did is unknown: a gap, no energy."""
    chip = tree_power(tree, 10 * W)
    rig.open().tick()
    rig.fail(chip / "curr1_input", ERRORS["EIO"])
    rig.ticks((1,) * 11)
    rig.fail(chip / "curr1_input", None)
    rig.tick()
    row = rig.row("package", "0")
    assert (row.energy_uj, row.gaps) == (10 * W, 1)


@pytest.mark.parametrize("interval_s", [1.0, 60.0])
def test_long_ticks_are_bridged(tree, monkeypatch, interval_s):
    """A longer interval by the user's wish is no pause."""
    tree_power(tree, 10 * W)
    rig = Rig(monkeypatch, tree.sysfs, hwmon, interval_s=interval_s)
    rig.open().ticks((interval_s,) * 3)
    assert rig.row("package", "0").energy_uj == 3 * round(interval_s) * 10 * W


def test_a_restart_in_the_middle(tree, rig):
    """A new process goes on in the same epoch: counters lose nothing, gauges are drawn across 3 s."""
    chip = amd(tree, 1, sockets=1)
    tree_power(tree, 30 * W, 2)
    law = watts(70)
    rig.law(chip / "energy2_input", law)
    rules = '[[rule]]\nchip="ina3221"\nlabel="VDD_CPU"\nzone="platform"\n'
    (tree.sysfs / "rules.toml").write_text(rules, encoding="ascii")
    rig.settings = type(rig.settings)(path_sysfs=tree.sysfs, hwmon_rules=str(tree.sysfs / "rules.toml"))
    rig.open().ticks((1, 1))
    epochs = {row.zone: row.epoch for row in rig.last.rows}
    rig.clock.advance(3)
    rig.restart().tick()
    assert rig.source.resumed
    assert {row.zone: row.epoch for row in rig.last.rows} == epochs
    assert rig.row("package", "0").energy_uj == law(rig.elapsed_ns) - law(0)
    assert rig.row("platform", "0").energy_uj == 30 * W * 6
    assert not any(row.gaps for row in rig.last.rows)


def test_an_old_driver_has_its_files_in_the_device(tree, rig):
    """Before Linux 3.x's groups, attributes and even the name were the device's: they are found there too."""
    files = {"in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 2000}
    tree.chip("ina3221", JETSON, 0, files, is_old=True)
    rig.open().tick()
    assert rig.row("platform", "0").energy_uj == 10 * W


def test_a_missing_label_is_no_zone(tree, rig):
    """A rule that goes by the label takes no sensor without one."""
    tree.chip("ina3221", JETSON, 0, {"in1_input": 5000, "curr1_input": 2000})
    rig.open().tick()
    assert rig.zones() == []


def test_an_unreadable_name_is_said(tree, rig):
    """A chip whose name can't be read may be the one: it is absent under its number."""
    chip = jetson(tree, 3)
    rig.fail(chip / "name", ERRORS["EIO"])
    absent = rig.open().tick().absent
    assert [(one.zone, one.index) for one in absent] == [("", "hwmon3")]


def test_its_right():
    """amd_energy's files are root's only."""
    assert hwmon.needs(None).capabilities == ("CAP_DAC_READ_SEARCH",)
