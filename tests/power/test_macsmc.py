# SPDX-License-Identifier: Apache-2.0
"""Apple silicon: the platform is the controller's total system power."""

import pytest

from services.power import macsmc

from .hwmon_world import HwmonTree, Rig, W, ramp, ramp_uj


@pytest.fixture
def tree(tmp_path):
    return HwmonTree(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, macsmc)


def mac(tree, number=1, name="macsmc_hwmon", label="Total System Power"):
    return tree.chip(
        name,
        "platform/soc/macsmc-hwmon.3.auto",
        number,
        {
            "power1_label": "AC Input Power",
            "power1_input": 20 * W,
            "power2_label": label,
            "power2_input": 12 * W,
            "power3_label": "3.8 V Rail Power",
            "power3_input": 5 * W,
        },
    )


@pytest.mark.parametrize("name", ["macsmc_hwmon", "macsmc-hwmon"])
def test_total_system_power_is_the_platform(tree, rig, name):
    """By its label, in whichever place it stands; the plug's and the rails' power are no zones."""
    rig.law(mac(tree, name=name) / "power2_input", ramp(12 * W, 3 * W))
    rig.open().ticks((1.0, 0.5, 2.5))
    row = rig.row("platform", "0")
    assert [one.zone for one in rig.last.rows] == [row.zone]
    assert row.zone.source == "macsmc"
    assert row.energy_uj == ramp_uj(12 * W, 3 * W, 0, 4)


def test_without_the_label(tree, rig):
    """No other figure stands in for it."""
    mac(tree, label="Heatpipe Power")
    assert rig.open().tick().rows == []
    assert "macsmc_hwmon" in rig.last.state.reason


@pytest.mark.parametrize("power_uw", [2147483647, -2147483648, 0])
def test_the_drivers_limits_are_no_power(tree, rig, power_uw):
    """A float that doesn't fit becomes the largest or the smallest int: no reading."""
    place = mac(tree)
    rig.open().tick()
    (place / "power2_input").write_text(f"{power_uw}\n", encoding="ascii")
    readings = rig.ticks((1, 1))
    assert readings.rows[0].energy_uj == 12 * W
    assert not readings.state.up


def test_the_driver_is_loaded_anew(tree, rig):
    """Its device has another number each time: the zone is the same."""
    mac(tree, 1)
    rig.open().tick()
    epoch = rig.row("platform", "0").epoch
    tree.remove(1)
    rig.ticks((1, 1))
    tree.chip(
        "macsmc_hwmon",
        "platform/soc/macsmc-hwmon.9.auto",
        6,
        {"power1_label": "Total System Power", "power1_input": 9 * W},
    )
    rig.ticks((11, 1))
    assert rig.row("platform", "0").epoch == epoch
