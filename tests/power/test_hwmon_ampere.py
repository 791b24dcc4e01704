# SPDX-License-Identifier: Apache-2.0
"""Ampere Altra: each socket's package zone is its own chip's CPU power."""

import pytest

from services.power import hwmon_ampere

from .hwmon_world import HwmonTree, Rig, W, ramp, ramp_uj


@pytest.fixture
def tree(tmp_path):
    return HwmonTree(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, hwmon_ampere)


def socket(tree, number, hwmon, name="apm_xgene", label="CPU power"):
    return tree.chip(
        name,
        f"platform/APMC0D8A:{number:02x}",
        hwmon,
        {
            "temp1_label": "SoC Temperature",
            "temp1_input": 40_000,
            "power1_label": label,
            "power1_input": 60 * W,
            "power2_label": "IO power",
            "power2_input": 15 * W,
        },
    )


@pytest.mark.parametrize("name", ["apm_xgene", "xgene_hwmon"])
def test_two_sockets(tree, rig, name):
    """Each socket's energy is the integral of its own power over real time; IO power is in no zone."""
    rig.law(socket(tree, 0, 7, name) / "power1_input", ramp(50 * W, 2 * W))
    socket(tree, 1, 3, name)
    rig.open().ticks((1.0, 0.25, 3.5, 0.75))
    assert rig.zones() == ["package 0", "package 1"]
    first, second = rig.row("package", "0"), rig.row("package", "1")
    assert first.energy_uj == ramp_uj(50 * W, 2 * W, 0, 5.5)
    assert second.energy_uj == 60 * W * 5.5
    assert abs(first.energy_uj - ramp_uj(50 * W, 2 * W, 0, 5.5)) <= first.integration_uj
    assert first.zone.source == "ampere-xgene-hwmon"


def test_a_socket_that_leaves_moves_no_other(tree, rig):
    """The index is the device's number, not the chip's place: socket 1 stays 1 when socket 0 goes."""
    socket(tree, 0, 0)
    socket(tree, 1, 1)
    rig.open().tick()
    tree.remove(0)
    rig.ticks((1, 1))
    assert rig.zones() == ["package 1"]
    assert rig.row("package", "1").energy_uj == 180 * W


def test_without_its_label(tree, rig):
    """A chip whose label isn't "CPU power" has no zone: which figure is which would be a guess."""
    socket(tree, 0, 0, label="Power")
    assert "expected a sensor of a chip among apm_xgene" in rig.open().tick().state.reason
    assert rig.zones() == []


def test_one_chip_without_a_number(tree, rig):
    """A device of a device tree has no number: it is socket 0."""
    tree.chip("apm_xgene", "platform/hwmonslimpro", 0, {"power1_label": "CPU power", "power1_input": 30 * W})
    rig.open().tick()
    assert rig.zones() == ["package 0"]
