# SPDX-License-Identifier: Apache-2.0
"""The zone `other`: what a platform's meter counts beyond the zones within it."""

import pytest

from services.calculator.partition import ENDED_AFTER, Partition
from services.calculator.rules import Rules

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S


def run(*, platform_w, period_s=0, seconds=120, sockets=1):
    machine = Paper(counts=False, sockets=sockets)
    machine.born(10, ROOT, "a" * 64)
    for socket in range(sockets):
        machine.meter("package", str(socket), 20, per_cpu_s=8)
        machine.meter("dram", str(socket), 5, per_cpu_s=2)
        machine.meter("core", str(socket), 10, per_cpu_s=7)
    machine.meter("platform", "chassis", platform_w, per_cpu_s=10 * sockets + 3, period_ns=period_s * S)
    desk, watch = Desk(Rules()), Watch()
    for second in range(seconds):
        machine.run(S, {((10, 100, 7), 0): (1.0 + second % 3, 1, 1, 0)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            if desk.take(frame):
                watch.check(desk.tables())
    return machine, desk


@pytest.mark.parametrize(("period_s", "sockets"), [(0, 1), (0, 2), (7, 1), (60, 2)])
def test_other_is_what_the_platform_has_beyond_its_parts(period_s, sockets):
    """Platform = package + dram + other, at each of its readings; core is within package."""
    _machine, desk = run(platform_w=25 * sockets + 40, period_s=period_s, sockets=sockets)
    platform, other = desk.zone("platform", "chassis"), desk.zone("other", "chassis")
    known = desk.state.zones.partition.bound_ns
    assert known == other.meter.watermark_ns == platform.meter.watermark_ns
    # 40 W and 3 J per CPU second, which the tests' load uses two of each second on average.
    seconds = (known - 1000 * S) / S
    assert other.measured_uj == pytest.approx(seconds * (40 + 3 * 2) * 1e6, rel=0.02)
    parts_uj = sum(
        zone.measured_uj
        for (name, _index, _source), zone in desk.state.zones.zones.items()
        if name in ("package", "dram")
    )
    assert desk.state.zones.partition.disagreement_uj == 0
    if not period_s:
        assert platform.measured_uj == parts_uj + other.measured_uj


def test_other_is_attributed_and_says_what_it_is():
    """It is a zone like any other: measured, with idle and dynamic energy, given to workloads."""
    _machine, desk = run(platform_w=65)
    assert desk.zone("other", "chassis").provenance == "measured"
    assert desk.dynamic_uj("other", "chassis")["a" * 64] > 0
    zones = desk.tables()["zones"]
    assert zones.source[zones.zone.index("other")] == "paper"


def test_a_platform_below_its_parts_is_a_disagreement():
    """What is missing is told, not clamped in silence; `other` stays where it was."""
    _machine, desk = run(platform_w=5)
    zones = desk.tables()["zones"]
    row = zones.zone.index("other")
    assert zones.measured_uj[row] == 0
    assert zones.disagreement_uj[row] == pytest.approx(118 * (25 - 5 - 3 * 2) * 1e6, rel=0.05)
    assert sum(zones.disagreement_uj) == zones.disagreement_uj[row]


def test_without_a_platform_there_is_no_other():
    """Nothing is known of the rest."""
    machine = Paper(counts=False)
    machine.meter("package", "0", 20, per_cpu_s=8)
    desk = Desk(Rules())
    for _second in range(10):
        machine.run(S, {})
        desk.take(machine.activity())
        desk.take(machine.power())
    assert [name[0] for name in desk.state.zones.zones] == ["package"]


def test_a_part_that_ends_is_waited_for_no_longer():
    """`other` waits for the readings of parts that are there, not for a meter that has gone."""
    partition = Partition()
    platform, package = ("platform", "0", "acpi"), ("package", "0", "rapl")
    for second in range(1, 10):
        partition.read(platform, 1, 0, second * S, second * 50)
        if second <= 2:
            partition.read(package, 1, 0, second * S, second * 30)
        partition.end_frame({platform, package} if second <= 3 else {platform})
        partition.readings()
        assert partition.bound_ns == (min(second, 2) if second < 3 + ENDED_AFTER else second) * S
    assert partition.other_uj == 9 * 50 - 2 * 30


@pytest.mark.parametrize("missing", range(1, ENDED_AFTER))
def test_a_part_that_is_missing_for_a_moment_moves_nothing(missing):
    """`other` waits for its next reading; else it would rise by the part's energy, and never fall again."""
    partition = Partition()
    platform, package = ("platform", "0", "acpi"), ("package", "0", "rapl")
    for second in range(1, 10):
        partition.read(platform, 1, 0, second * S, second * 50)
        is_there = not 3 <= second < 3 + missing
        if is_there:
            partition.read(package, 1, 0, second * S, second * 30)
        partition.end_frame({platform, package} if is_there else {platform})
        partition.readings()
        assert partition.other_uj == partition.bound_ns // S * (50 - 30)
    assert partition.bound_ns == 9 * S


def test_a_late_part_is_waited_for():
    """While a part has not reached the platform's reading, nothing is said of that time."""
    partition = Partition()
    platform, package = ("platform", "0", "acpi"), ("package", "0", "rapl")
    partition.read(platform, 1, 0, 10 * S, 500)
    partition.read(package, 1, 0, 8 * S, 240)
    partition.end_frame({platform, package})
    assert partition.readings() == []
    partition.read(package, 1, 0, 12 * S, 360)
    partition.end_frame({platform, package})
    assert partition.readings() == [(10 * S, 500 - 300)]


def test_a_new_epoch_of_power_goes_on():
    """Cumulative energies that begin again are no fall."""
    partition = Partition()
    platform, package = ("platform", "0", "acpi"), ("package", "0", "rapl")
    readings = ((1, 1, 50, 30), (1, 2, 100, 60), (3 * S, 4, 50, 30), (3 * S, 5, 100, 60))
    for epoch, second, platform_uj, package_uj in readings:
        partition.read(platform, epoch, 0, second * S, platform_uj)
        partition.read(package, epoch, 0, second * S, package_uj)
        partition.end_frame({platform, package})
        partition.readings()
    assert (partition.other_uj, partition.disagreement_uj) == (200 - 120, 0)


def test_what_was_not_read_between_two_epochs_is_not_taken_from_other():
    """When power begins anew a slow platform's last stretch is lost, and that of its parts with it."""
    partition = Partition()
    platform, package = ("platform", "0", "bmc"), ("package", "0", "rapl")
    platform_uj = 0
    for second in range(1, 401):
        epoch = 1 + second // 90 * 90 * S  # begins anew each one and a half of its periods
        since = second - epoch // S
        platform_uj = since // 60 * 60 * 150
        partition.read(platform, epoch, 0, (epoch // S + since // 60 * 60) * S + 1, platform_uj)
        partition.read(package, epoch, 0, second * S + 1, since * 100)
        partition.end_frame({platform, package})
        partition.readings()
    # Read as wholes: the first minute of each of five stretches but the last, which is 40 s long.
    assert partition.other_uj == pytest.approx(4 * 60 * 50, rel=0.01)
    assert partition.disagreement_uj == 0


def test_a_platform_source_that_comes_back_begins_another_count():
    """From one source to another and back, `other` goes on with each from where it stood."""
    machine = Paper(counts=False)
    machine.meter("package", "0", 20)
    machine.meter("platform", "a", 60, source="redfish")
    machine.meter("platform", "b", 60, source="acpi")
    desk, watch = Desk(Rules()), Watch()
    desk.show = watch.check
    for second in range(90):
        first, other = machine.meters[1:]
        first.is_present, other.is_present = not 40 <= second < 50, 40 <= second < 50
        machine.run(S, {})
        for frame in (machine.activity(), machine.power()):
            desk.take(frame)
    zones = desk.state.zones.zones
    assert zones["other", "a", "redfish"].measured_uj == pytest.approx(79 * 40e6, rel=0.03)
    assert zones["other", "b", "acpi"].measured_uj == pytest.approx(9 * 40e6, rel=0.15)
