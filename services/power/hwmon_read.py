# SPDX-License-Identifier: Apache-2.0
"""Channels made of hwmon sensors: how each kind of figure is read, and at which time it holds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from wattline.wire.frames import UNREADABLE

from .channel import Channel, Found, Kind, Sample, sampled
from .hwmon_files import check_energy, check_power, optional_text, read_natural, read_text
from .hwmon_tree import Figure, Sensor
from .source import Absent, Zone

# The shortest pause that a straight line may bridge; the number of readings it may span.
BRIDGE_NS_MIN = 10_000_000_000
_BRIDGED_READINGS = 3
_NS_PER_MS = 1_000_000
# The longest interval of an average that is accepted. ACPI has no limit; servers show 1 to 300 s.
INTERVAL_MS_MAX = 3_600_000


class Channels:
    """The channels of a source's zones; a sensor keeps its channel from one look to the next."""

    def __init__(self, interval_ns: int) -> None:
        """`interval_ns`: of the service's ticks."""
        self._interval_ns = interval_ns
        self._channels: dict[Zone, tuple[object, Channel]] = {}

    def place(self, sensors: Mapping[Zone, Sensor], found: Found) -> None:
        """Add a channel for each zone's sensor to what a look has found."""
        placed: dict[Zone, tuple[object, Channel]] = {}
        unreadable: list[Absent] = []
        for zone, sensor in sensors.items():
            key, channel = self._channels.get(zone, (None, None))
            try:
                new_key = (sensor.paths, sensor.figure, averaging_ns(sensor))
                if channel is None or new_key != key:
                    channel = channel_of(zone, sensor, self._interval_ns)
                placed[zone] = (new_key, channel)
            except (OSError, ValueError) as error:
                # Without its interval, the time of an average is unknown.
                if channel is not None:
                    placed[zone] = (None, _failing(channel, str(sensor.interval), error))
                    continue
                reason = f"{zone}: {sensor.interval}: {getattr(error, 'strerror', None) or error}"
                unreadable.append(Absent(zone.source, zone.name, zone.index, UNREADABLE, reason))
        self._channels = placed
        found.channels = [channel for _key, channel in placed.values()]
        found.unreadable = [*found.unreadable, *unreadable]


def _failing(channel: Channel, place: str, error: Exception) -> Channel:
    def read() -> Sample:
        raise error

    return replace(channel, place=place, read=read)


def channel_of(zone: Zone, sensor: Sensor, interval_ns: int) -> Channel:
    """The channel of a sensor. `interval_ns`: of the service's ticks. Raises OSError or ValueError."""
    place = " and ".join(map(str, sensor.paths))
    if sensor.figure is Figure.ENERGY:
        read = _checked(sensor, lambda: sampled(lambda: _energy_uj(zone, sensor)))
        return Channel(zone, place, read, Kind.COUNTER)
    average_ns = averaging_ns(sensor)
    take: Callable[[], Sample] = lambda: sampled(lambda: _power_uw(zone, sensor))  # noqa: E731
    period_ns = average_ns if average_ns > interval_ns else 0
    if average_ns:
        take = Averages(take, average_ns, interval_ns).read
    return Channel(
        zone,
        place,
        _checked(sensor, take),
        Kind.GAUGE,
        bridge_ns=bridge_ns(max(interval_ns, period_ns)),
        period_ns=period_ns,
    )


def bridge_ns(period_ns: int) -> int:
    """The longest pause that a gauge's power is drawn across, by how often it is read."""
    return max(BRIDGE_NS_MIN, _BRIDGED_READINGS * period_ns)


def averaging_ns(sensor: Sensor) -> int:
    """The interval that a sensor averages over; 0 if it doesn't say or doesn't average."""
    if sensor.interval is None:
        return 0
    interval_ms = read_natural(sensor.interval, "milliseconds")
    if interval_ms > INTERVAL_MS_MAX:
        raise ValueError(
            f"{sensor.interval}: expected an interval of at most {INTERVAL_MS_MAX} ms, got {interval_ms} ms"
        )
    return interval_ms * _NS_PER_MS


class Averages:
    """Readings of a rolling mean, each at the middle of the interval that it is the mean of.

    The time of a sample is that of its reading less half the interval, and never goes back. If the interval
    is longer than a tick, there is one sample per interval: energy can't be known at a finer time than that.
    Source: ACPI 6.0, 10.4.3 (_PMM is a rolling average over the interval that _GAI returns).
    """

    def __init__(self, take: Callable[[], Sample], average_ns: int, tick_ns: int) -> None:
        """`take`: reads the mean now. `tick_ns`: how often `read` is called, give or take half of it."""
        self._take = take
        self._average_ns = average_ns
        self._pause_ns = max(0, average_ns - tick_ns // 2)
        self._read_ns = -math.inf
        self._last: Sample | None = None

    def read(self) -> Sample:
        """The newest sample. Raises what `take` does."""
        sample = self._take()
        if self._last is not None and sample.mono_ns - self._read_ns < self._pause_ns:
            return self._last
        mono_ns = max(1, sample.mono_ns - self._average_ns // 2)  # 0 would be no time
        if self._last is not None:
            mono_ns = max(mono_ns, self._last.mono_ns)
        self._read_ns = sample.mono_ns
        self._last = Sample(mono_ns, sample.value)
        return self._last


def _checked(sensor: Sensor, take: Callable[[], Sample]) -> Callable[[], Sample]:
    def read() -> Sample:
        for fault in sensor.faults:
            if (text := read_text(fault)) != "0":
                raise ValueError(f"{fault.name} says that the sensor is broken: expected 0, got {text!r:.20}")
        return take()

    return read


def _energy_uj(zone: Zone, sensor: Sensor) -> int:
    return check_energy(zone.name, read_natural(sensor.paths[0], "microjoules"))


def _power_uw(zone: Zone, sensor: Sensor) -> int:
    if sensor.figure is Figure.VOLTS_AND_AMPERES:
        millivolts, milliamperes = sensor.paths
        power_uw = read_natural(millivolts, "millivolts") * read_natural(milliamperes, "milliamperes")
    else:
        power_uw = read_natural(sensor.paths[0], "microwatts")
    return check_power(zone.name, power_uw)


def package_of_node(sysfs: Path, node: int) -> str:
    """The package of a NUMA node's CPUs, for the first node of each package; "0" on a machine with one node.

    Raises ValueError for any other node of a package, since its counter is the same one, and where the tree
    lacks the package.
    """
    packages = {number: _package(sysfs, number) for number in range(node + 1)}
    package = packages[node]
    if package == "":
        if node == 0 and not (sysfs / "devices/system/node/node1").exists():
            return "0"
        raise ValueError(f"expected the package of NUMA node {node} in devices/system, got none")
    for other in range(node):
        if packages[other] == package:
            raise ValueError(
                f"NUMA nodes {other} and {node} are of package {package}, counted as node {other}"
            )
    return package


def _package(sysfs: Path, node: int) -> str:
    system = sysfs / "devices" / "system"
    cpus = optional_text(system / "node" / f"node{node}" / "cpulist")
    first = cpus.partition(",")[0].partition("-")[0]
    if not first.isdigit():
        return ""
    return optional_text(system / "cpu" / f"cpu{first}" / "topology" / "physical_package_id")
