# SPDX-License-Identifier: Apache-2.0
"""NVIDIA Grace: a socket's package is the meter that firmware calls Grace, and no meter is a platform."""

import pytest

from services.power import acpi, hwmon_grace
from services.power.channel import Sample
from services.power.hwmon_read import Averages

from .hwmon_world import HwmonTree, Rig, W, ramp, ramp_uj
from .world import S

LABELS = {"Module": 600 * W, "Grace": 100 * W, "CPU": 55 * W, "SysIO": 8 * W}


@pytest.fixture
def tree(tmp_path):
    return HwmonTree(tmp_path)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path, hwmon_grace)


def meter(tree, number, label, power_uw, interval_ms=50):
    return tree.chip(
        "power_meter",
        f"LNXSYSTM:00/LNXSYBUS:00/ACPI000D:{number:02x}",
        number,
        {
            "power1_oem_info": label,
            "power1_average": power_uw,
            "power1_average_interval": interval_ms,
            "power1_is_battery": 0,
        },
        is_old=True,
    )


def sockets(tree, count=2, labels=tuple(LABELS)):
    number = 0
    for socket in range(count):
        for label in labels:
            meter(tree, number, f"{label} Power Socket {socket}", LABELS[label] + socket * W)
            number += 1


def test_the_grace_label_is_the_package(tree, rig):
    """Of the four meters of a socket "Grace" counts; the module's holds the GPU, the others are within."""
    sockets(tree)
    rig.open().ticks((1.0, 2.0))
    assert rig.zones() == ["package 0", "package 1"]
    assert rig.row("package", "0").energy_uj == 300 * W
    assert rig.row("package", "1").energy_uj == 303 * W
    assert rig.row("package", "0").zone.source == "grace-acpi"


def test_the_cpu_rail_where_there_is_no_grace_label(tree, rig):
    """Kepler's other label counts only for sockets without the whole socket's meter."""
    sockets(tree, 1, ("Module", "CPU"))
    meter(tree, 9, "Grace Power Socket 1", 90 * W)
    meter(tree, 10, "CPU Power Socket 1", 50 * W)
    rig.open().tick()
    assert (rig.row("package", "0").raw, rig.row("package", "1").raw) == (55 * W, 90 * W)


def test_no_meter_of_grace_is_a_platform(tree, rig, monkeypatch):
    """The chip's name is an ACPI meter's: whatever Grace's rules know, and any other socket's, isn't one."""
    sockets(tree)
    meter(tree, 20, "Total Power socket 0", 700 * W)
    other = Rig(monkeypatch, tree.sysfs, acpi).open()
    assert other.tick().rows == []
    assert other.zones() == []
    meter(tree, 21, "", 2000 * W)
    other.open().tick()
    assert [str(row.zone) for row in other.last.rows] == ["platform ACPI000D:15"]


def test_a_mean_is_of_the_middle_of_its_interval(tree, rig):
    """The mean over 50 ms of power that rises gives the true energy up to 25 ms before the reading."""
    place = meter(tree, 0, "Grace Power Socket 0", 0)
    true = ramp(100 * W, 40 * W)
    rig.law(place / "power1_average", lambda ns: true(ns - 25_000_000))  # the mean of the last 50 ms
    rig.open().ticks((1.0, 0.5, 2.0))
    row = rig.row("package", "0")
    assert row.mono_ns == rig.clock.now_ns - 25_000_000
    assert row.energy_uj == pytest.approx(ramp_uj(100 * W, 40 * W, -0.025, 3.475), abs=2)


def test_each_file_has_its_own_time(tree, rig, monkeypatch):
    """Kepler gives one time to all files, so that later ones have no time between two readings."""
    sockets(tree)
    rig.open()
    clock = rig.clock
    real = clock.monotonic_ns

    def later():
        clock.now_ns += 1_000_000  # each look at the clock is 1 ms later
        return real()

    monkeypatch.setattr(clock, "monotonic_ns", later)
    for _ in range(5):
        rig.tick()
    first, second = rig.row("package", "0"), rig.row("package", "1")
    assert second.mono_ns - first.mono_ns == 2_000_000
    for row, power_uw in ((first, 100 * W), (second, 101 * W)):
        assert row.energy_uj == power_uw * (row.mono_ns - row.epoch) // S


def test_times_never_go_back(tree, rig):
    """An interval that grows moves the middle back: no reading until it is later than the last one."""
    place = meter(tree, 0, "Grace Power Socket 0", 10 * W, interval_ms=100)
    rig.open().tick()
    times = [rig.row("package", "0").mono_ns]
    tree.write(place, {"power1_average_interval": 3000})
    rig.ticks((10.0,))  # when meters are looked for again
    for _ in range(8):
        rig.tick()
        times.append(rig.row("package", "0").mono_ns)
    assert times == sorted(times)
    assert rig.row("package", "0").gaps <= 1


def test_a_mean_from_before_the_boot():
    """Just after a boot the middle of a long interval would lie before it: times begin above 0."""
    mean = Averages(lambda: Sample(20 * S, 5), 300 * S, S)
    assert mean.read().mono_ns == 1


def test_a_long_mean_has_one_reading_per_interval():
    """A mean over 30 s, read each second, is one sample each 30 s; ticks may be early or late by half."""
    now = iter(range(0, 100 * S, S))
    mean = Averages(lambda: Sample(1000 * S + next(now), 5), 30 * S, S)
    times = [mean.read().mono_ns - 985 * S for _ in range(91)]
    assert sorted(set(times)) == [0, 30 * S, 60 * S, 90 * S]
