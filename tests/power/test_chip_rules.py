# SPDX-License-Identifier: Apache-2.0
"""Rules: which sensors they mean, which index a zone gets, and that the built-in table is sound."""

import pytest

from services.power.chip_rules import ACPI_CHIP, BUILT_IN, GRACE, HWMON, ZONES, Rule, instance_of
from services.power.hwmon import index_of
from wattline.zone_power import POWER_MAX_W


@pytest.mark.parametrize(
    ("rule", "sensor", "expected"),
    [
        (Rule("x", "package"), ("x", "d", "power1", "any"), ""),
        (Rule("x", "package"), ("y", "d", "power1", "any"), None),
        (Rule("x", "package", label="CPU"), ("x", "d", "power1", "CPU"), ""),
        (Rule("x", "package", label="CPU"), ("x", "d", "power1", "CPU 1"), None),
        (Rule("x", "package", label="CPU"), ("x", "d", "power1", ""), None),
        (Rule("x", "package", label="S{n}"), ("x", "d", "power1", "S12"), "12"),
        (Rule("x", "package", label="S{n}"), ("x", "d", "power1", "S007"), "7"),
        (Rule("x", "package", label="S{n}"), ("x", "d", "power1", "S"), None),
        (Rule("x", "package", label="S{n}"), ("x", "d", "power1", "S1 "), None),
        (Rule("x", "package", label="a.c{n}z"), ("x", "d", "power1", "abc1z"), None),
        (Rule("x", "package", label="a.c{n}z"), ("x", "d", "power1", "a.c1z"), "1"),
        (Rule("x", "package", sensor="power2"), ("x", "d", "power1", ""), None),
        (Rule("x", "package", sensor="power2"), ("x", "d", "power2", ""), ""),
        (Rule("x", "package", device="1-0040"), ("x", "1-0041", "power2", ""), None),
        (Rule("x", "package", device="1-0040"), ("x", "1-0040", "power2", ""), ""),
    ],
)
def test_which_sensors_a_rule_means(rule, sensor, expected):
    """All fields that a rule has must be equal; {n} in a label is a number, and nothing else is a pattern."""
    assert rule.match(*sensor) == expected


@pytest.mark.parametrize(
    ("rule", "device", "number", "expected"),
    [
        (Rule("x", "package"), "d", "", "0"),
        (Rule("x", "package", label="S{n}"), "d", "3", "3"),
        (Rule("x", "package", label="S{n}", index="a{n}b"), "d", "3", "a3b"),
        (Rule("x", "platform", index="{device}"), "1-0040", "", "1-0040"),
        (Rule("x", "package", index="{instance}"), "APMC0D8A:1f", "", "31"),
        (Rule("x", "package", index="node"), "d", "", "node"),
    ],
)
def test_indexes(tmp_path, rule, device, number, expected):
    """A template's placeholders are the label's number and the device's name or number."""
    assert index_of(rule, device, number, tmp_path) == expected


@pytest.mark.parametrize(
    ("device", "expected"),
    [("APMC0D8A:00", "0"), ("ACPI000D:0A", "10"), ("soc:hwmonslimpro", "0"), ("amd_energy.0", "0")],
)
def test_a_devices_number(device, expected):
    """ACPI's numbers are hexadecimal; a device without one is the only one."""
    assert instance_of(device) == expected


def test_the_table_is_sound():
    """Each built-in rule has a label (chips are ambiguous without) and a zone that the wire's limits know."""
    for rule in BUILT_IN:
        assert rule.label, rule
        assert rule.zone in ZONES, rule
        assert rule.zone in POWER_MAX_W or rule.zone in {"platform", "none"}, rule
        assert rule.zone != "gpu", rule
    assert len(set(BUILT_IN)) == len(BUILT_IN)


def test_chips_of_boards_have_no_built_in_rule():
    """What these chips measure depends on the board that they are on."""
    chips = {rule.chip for rule in BUILT_IN}
    assert not any(chip.startswith(("ina2", "ltc", "adm", "tps", "pmbus")) for chip in chips)


def test_the_whole_socket_goes_before_its_cores():
    """Of Grace's rules for a package that of the whole socket is the first."""
    labels = [rule.label for rule in BUILT_IN if rule.chip == ACPI_CHIP and rule.zone == "package"]
    assert labels == ["Grace Power Socket {n}", "CPU Power Socket {n}"]
    assert {rule.source for rule in BUILT_IN if rule.chip == ACPI_CHIP} == {GRACE}
    assert HWMON in {rule.source for rule in BUILT_IN}
