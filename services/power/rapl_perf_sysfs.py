# SPDX-License-Identifier: Apache-2.0
"""RAPL counters in sysfs beside perf events of the same zones: they bridge a restart, which perf can't."""

from pathlib import Path

from wattline.zone_power import power_max_uw

from .counter import Advance, Limits, Reading, Wrap, step
from .mirrors import Counter
from .rapl_zones import RaplZone, find_zones
from .source import Former, Zone, ZoneEnergy
from .zone_meter import ZoneMeter

Slot = tuple[str, str]  # name and index of a zone


def slot(zone: Zone) -> Slot:
    """Return what a zone has in common with the same zone of another source."""
    return zone.name, zone.index


class SysfsCounters:
    """The counters of a sysfs tree by slot."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._meters: dict[Slot, ZoneMeter] = {}
        self.are_there = False  # zones of RAPL, readable or not

    def look(self) -> None:
        """Find out which there are."""
        all_found = find_zones(self._sysfs)
        self.are_there = bool(all_found.zones or all_found.unreadable or all_found.dangling)
        found: dict[Slot, RaplZone] = {slot(one.zone): one for one in all_found.zones}
        for gone in self._meters.keys() - found.keys():
            self._meters.pop(gone).close()
        for name, one in found.items():
            if name in self._meters:
                self._meters[name].place(one)
            else:
                self._meters[name] = ZoneMeter(one, Former())

    def are_readable(self) -> bool:
        """Return True if any counter can be read."""
        return any(isinstance(meter.read(), Counter) for meter in self._meters.values())

    def read(self, zone: Zone) -> tuple[int, int] | None:
        """Return (raw reading, range) of a zone's counter in µJ; None if it can't be read."""
        meter = self._meters.get(slot(zone))
        counter = meter.read() if meter is not None else None
        if not isinstance(counter, Counter):
            return None
        return counter.reading.raw_uj, counter.limits.range_uj

    def since(self, row: ZoneEnergy) -> int | None:
        """Return the energy in µJ since a row of a former run, which holds a raw reading of that time.

        None if that isn't known: no counter then or now, another range, too long a pause, too much energy.
        """
        meter = self._meters.get(slot(row.zone))
        counter = meter.read() if meter is not None else None
        if not row.raw_range or not isinstance(counter, Counter) or counter.limits.range_uj != row.raw_range:
            return None
        limits = Limits(row.raw_range, power_max_uw(row.zone.name, is_measured=True))
        result = step(Reading(row.mono_ns, row.raw), counter.reading, limits)
        return result.energy_uj if isinstance(result, Advance | Wrap) else None

    def close(self) -> None:
        """Close all descriptors."""
        for meter in self._meters.values():
            meter.close()
