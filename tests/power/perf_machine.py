# SPDX-License-Identifier: Apache-2.0
"""A sysfs with a `power` PMU and a topology, events that a test drives, and settings that name a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.power.perf_event import Count, EndedError
from services.power.source import Former, Source

from .world import Clock

# As every kernel has it: 2⁻³² J.
SCALE = "2.3283064365386962890625e-10"
CPU_CLOCK, SOFTWARE = "event=0x00", 1  # include/uapi/linux/perf_event.h: counts ns on any machine


def write(path: Path, text: object):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


class PmuTree:
    """A sysfs whose `power` PMU is what a test makes of it."""

    def __init__(self, sysfs: Path, pmu_type: int = SOFTWARE, cpumask: str = "0"):
        self.sysfs = sysfs
        self.pmu = sysfs / "bus" / "event_source" / "devices" / "power"
        write(self.pmu / "type", pmu_type)
        write(self.pmu / "format" / "event", "config:0-7")
        self.cpumask(cpumask)
        # RAPL zones that can't be read, as in a container whose engine masks powercap.
        self.masked = sysfs / "class" / "powercap" / "intel-rapl:9"
        self.masked.parent.mkdir(parents=True)
        self.masked.symlink_to("nowhere")

    def cpumask(self, cpus: str):
        write(self.pmu / "cpumask", cpus)

    def event(self, name: str, config: str = CPU_CLOCK, scale: str = "1e-9", unit: str = "Joules"):
        write(self.pmu / "events" / name, config)
        write(self.pmu / "events" / f"{name}.scale", scale)
        write(self.pmu / "events" / f"{name}.unit", unit)

    def cpus(
        self, places: Mapping[int, tuple[int, int]], vendor: int = 0, model: int = 0x55, family: int = 6
    ):
        """Socket and die of each CPU, all of them online."""
        cpu = self.sysfs / "devices" / "system" / "cpu"
        write(cpu / "modalias", f"cpu:type:x86,ven{vendor:04X}fam{family:04X}mod{model:04X}:feature:,0000,")
        write(cpu / "online", ",".join(map(str, places)))
        for number, (socket, die) in places.items():
            write(cpu / f"cpu{number}" / "topology" / "physical_package_id", socket)
            write(cpu / f"cpu{number}" / "topology" / "die_id", die)


@dataclass
class Ticks(Clock):
    """Stands in for the module `time`, in all that reads counters."""

    now_ns: int = 1000 * 1_000_000_000

    def sleep(self, seconds: float):
        """Nothing: what waits for a first count has it at once, or never."""


@dataclass
class FakeEvent:
    """Counts `per_ns` for each ns of the clock while its CPU is online, and 1 at once."""

    clock: Ticks
    cpu: int
    per_ns: int
    opened_ns: int
    stopped_ns: int | None = None
    missed_ns: int = 0
    is_ended: bool = False
    is_closed: bool = False

    def read(self) -> Count:
        if self.is_ended:
            raise EndedError("the kernel ended the event")
        until_ns = self.clock.now_ns if self.stopped_ns is None else self.stopped_ns
        running_ns = until_ns - self.opened_ns - self.missed_ns
        return Count(running_ns * self.per_ns + (self.per_ns > 0), until_ns - self.opened_ns, running_ns)

    def close(self):
        self.is_closed = True


@dataclass
class FakePmu:
    """Opens events; `per_ns` by config, 1 by default. What is 0 has no register behind it."""

    clock: Ticks
    per_ns: dict[int, int] = field(default_factory=dict)
    opened: list[FakeEvent] = field(default_factory=list)
    error: OSError | None = None

    def open(self, _pmu_type: int, config: int, cpu: int) -> FakeEvent:
        if self.error is not None:
            raise self.error
        event = FakeEvent(self.clock, cpu, self.per_ns.get(config, 1), self.clock.now_ns)
        self.opened.append(event)
        return event

    @property
    def live(self) -> list[FakeEvent]:
        return [event for event in self.opened if not event.is_closed]


def rows_of(readings):
    return {(row.zone.name, row.zone.index): row for row in readings.rows}


def former(source: Source, now_ns: int) -> Former:
    rows = source.read(now_ns).rows
    return Former(rows[0].epoch, {row.zone: row for row in rows}, 0, max(row.mono_ns for row in rows))
