# SPDX-License-Identifier: Apache-2.0
"""The zones of the `power` PMU: which there are, and an open event for each."""

import errno
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from wattline.wire.frames import UNREADABLE

from .channel import Channel, Found, Kind, Sample
from .cpu_model import by_index, places, processor, psys_index
from .rapl_perf_counter import Open, PerfCounter
from .rapl_perf_pmu import Pmu, PmuEvent
from .source import MEASURED, Absent, Zone

SOURCE = "rapl-perf"

# The hardware's counters advance about once a millisecond (Intel SDM volume 3B, "RAPL Interfaces"), psys of
# some servers in steps of 1 J. An event that hasn't counted by then is tried again at the next look.
_FIRST_COUNT_TRIES, _FIRST_COUNT_S = 20, 0.001
_NO_METER = (
    "a virtual machine whose host doesn't pass the counter on, or a part that is switched off; the event is "
    "looked at again every few seconds"
)

BaseUj = Callable[[Zone], int]  # the figure of a zone whose event is about to be opened
OnSample = Callable[[Zone, Sample], None]  # called with each sample, right after it was read


def wanted_zones(sysfs: Path, pmu: Pmu) -> dict[Zone, tuple[PmuEvent, int]]:
    """Return each zone's event, and the CPU to count it on. Raises OSError or ValueError."""
    groups = by_index(places(sysfs, pmu.cpus), by_die=True)
    chip = processor(sysfs)
    seen: set[str] = set()
    wanted: dict[Zone, tuple[PmuEvent, int]] = {}
    for index, cpus in groups.items():
        socket = index.partition("-")[0]
        if chip is not None and chip.has_package_scope and socket in seen:
            continue  # kernels that count by die show the counter of the socket once per die
        seen.add(socket)
        for event in pmu.events:
            zone_index = psys_index(index) if event.zone == "psys" else index
            wanted.setdefault(Zone(event.zone, zone_index, SOURCE, MEASURED), (event, cpus[0]))
    return wanted


class PerfZones:
    """Open events by zone. A zone has a channel once its event has counted anything."""

    def __init__(self, open_event: Open, base_uj: BaseUj, on_sample: OnSample) -> None:
        self._open_event = open_event
        self._base_uj = base_uj
        self._on_sample = on_sample
        self._counters: dict[Zone, PerfCounter] = {}
        self._channels: dict[Zone, Channel] = {}

    def __len__(self) -> int:
        """How many events are open."""
        return len(self._counters)

    def look(self, pmu: Pmu, wanted: dict[Zone, tuple[PmuEvent, int]]) -> Found:
        """Open what isn't open, close what isn't wanted, follow CPUs that have changed."""
        self.drop_all_but(wanted)
        unreadable: list[Absent] = []
        for zone, (event, cpu) in wanted.items():
            try:
                self._open(pmu, zone, event, cpu)
            except OSError as error:
                if error.errno in {errno.EACCES, errno.EPERM, errno.ENOSYS}:
                    self.drop_all_but(())
                    return Found(why_none=str(error.strerror))
                reason = f"{zone}: {error.strerror}"
                unreadable.append(Absent(SOURCE, zone.name, zone.index, UNREADABLE, reason))
        idle = [
            f"{zone}: {counter.place} hasn't counted since it was opened: {_NO_METER}"
            for zone, counter in self._counters.items()
            if not self._has_channel(zone, counter)
        ]
        return Found(
            channels=list(self._channels.values()),
            unreadable=unreadable,
            skipped=[*pmu.skipped, *idle],
            why_none="" if self._channels else f"none of the PMU's events counts: {_NO_METER}",
        )

    def drop_all_but(self, kept: Collection[Zone]) -> None:
        """Close the events of all other zones."""
        for zone in [zone for zone in self._counters if zone not in kept]:
            self._drop(zone)

    def _drop(self, zone: Zone) -> None:
        self._counters.pop(zone).close()
        self._channels.pop(zone, None)

    def _open(self, pmu: Pmu, zone: Zone, event: PmuEvent, cpu: int) -> None:
        counter = self._counters.get(zone)
        if counter is not None and not counter.is_closed and counter.is_of(pmu.type, event):
            counter.follow(cpu)
            return
        if counter is not None:
            self._drop(zone)
        base_uj = self._base_uj(zone)
        counter = self._counters[zone] = PerfCounter(self._open_event, pmu.type, event, cpu, base_uj)
        for _try in range(_FIRST_COUNT_TRIES):
            if _has_counted(counter):
                break
            time.sleep(_FIRST_COUNT_S)

    def _has_channel(self, zone: Zone, counter: PerfCounter) -> bool:
        if zone not in self._channels and _has_counted(counter):
            read = partial(self._read, zone, counter)
            self._channels[zone] = Channel(zone, counter.place, read, Kind.COUNTER, close=counter.close)
        return zone in self._channels

    def _read(self, zone: Zone, counter: PerfCounter) -> Sample:
        sample = counter.read()
        self._on_sample(zone, sample)
        return sample


def _has_counted(counter: PerfCounter) -> bool:
    try:
        return counter.has_counted()
    except (OSError, ValueError):
        return False
