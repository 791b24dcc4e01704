# SPDX-License-Identifier: Apache-2.0
"""docs/hwmon.md: its example loads, and its tables have what the code has."""

import re
from pathlib import Path

import pytest

from services.power import battery, chip_rules, cray_pm, hwmon
from services.power.chip_rules_file import load_rules

from .hwmon_world import HwmonTree, Rig, W

PAGE = (Path(__file__).parents[2] / "docs" / "hwmon.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def test_the_example_loads(rules):
    """The page's rules file is valid, and has every key."""
    mine = load_rules(str(rules))[: -len(chip_rules.BUILT_IN)]
    assert [rule.zone for rule in mine] == ["platform", "core", "none"]
    keys = {"chip", "zone", "label", "device", "sensor", "index"}
    assert all(any(getattr(rule, key) for rule in mine) for key in keys)
    assert keys == set(
        re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE.partition("| key |")[2], re.MULTILINE)
    ) - {""}


def test_the_example_does_what_it_says(monkeypatch, tmp_path, rules):
    """The named sensor of the named device is the platform, clusters are cores, and VDD_IN is left out."""
    tree = HwmonTree(tmp_path)
    for number in (0, 1):
        tree.chip("ina226", f"i2c-1/1-004{number}", number, {"power1_input": (10 + number) * W})
    labels = {f"power{n}_label": f"PM_CLUSTER_{n}" for n in (1, 2)}
    tree.chip("scmi_sensors", "scmi.0", 2, labels | {"power1_input": 2 * W, "power2_input": 3 * W})
    vdd = {"in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 4000}
    tree.chip("ina3221", "i2c-1/1-0042", 3, vdd)
    rig = Rig(monkeypatch, tmp_path, hwmon, hwmon_rules=str(rules)).open()
    rig.tick()
    assert {str(row.zone): row.energy_uj for row in rig.last.rows} == {
        "platform 1-0040": 10 * W,
        "core 1": 2 * W,
        "core 2": 3 * W,
    }


def test_the_page_names_every_source_chip_and_label():
    """A rule that isn't on the page can't be found by its user."""
    for source in {rule.source for rule in chip_rules.BUILT_IN} | {battery.SOURCE, cray_pm.SOURCE, "acpi"}:
        assert f"`{source}`" in PAGE
    for rule in chip_rules.BUILT_IN:
        label = rule.label.replace("{n}", "N")
        assert f"`{label}`" in PAGE, label
    for name in cray_pm.ZONES:
        assert f"`{name}`" in PAGE
    for placeholder in chip_rules.PLACEHOLDERS:
        assert f"`{placeholder}`" in PAGE
