# SPDX-License-Identifier: Apache-2.0
"""Energy from the RAPL counters that the kernel shows as perf events (the PMU `power`).

Used where sysfs has RAPL zones that can't be read, or if `power.sources` names it. A count begins at 0 when
its event is opened. A row therefore holds the reading of the same counter in sysfs, if there is one. From it
the next run calculates what was used in between. Otherwise a restart is a gap.
"""

from collections.abc import Sequence
from dataclasses import replace

from wattline.wire.frames import Activity

from . import perf_event
from .channel import Found, Sample
from .choice import is_named
from .metered import Metered
from .needs import Needs
from .rapl_perf_counter import Open
from .rapl_perf_pmu import directory, find_pmu
from .rapl_perf_sysfs import SysfsCounters
from .rapl_perf_zones import SOURCE, PerfZones, wanted_zones
from .settings import PowerSettings
from .source import Former, Level, Note, Readings, Source, Zone, ZoneEnergy, utc

__all__ = ["NEEDS", "SOURCE", "RaplPerf", "needs", "open_source"]

NEEDS = Needs(capabilities=(perf_event.CAPABILITY,), calls=perf_event.CALLS)
# So many looks in a row must find sysfs readable before its zones are left to rapl-sysfs.
_LOOKS_TO_LEAVE = 2
# The figure of a former row in a new run, and of a new event without one. A lower figure later is a gap, a
# higher one adds to the energy.
_BEGIN_UJ = 1


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The zones of the PMU, while they are needed."""
    return RaplPerf(settings, former, now_ns)


def needs(settings: PowerSettings) -> Needs:
    """The right to open the events, if there is a PMU that is going to be used."""
    if not directory(settings.path_sysfs).exists():
        return Needs()
    counters = SysfsCounters(settings.path_sysfs)
    counters.look()
    is_needed = counters.are_there and not counters.are_readable()
    counters.close()
    if not is_needed and not is_named(settings.power_sources, SOURCE):
        return Needs()
    return NEEDS


class RaplPerf:
    """The zones of the PMU. A new row holds the raw reading of sysfs instead of perf's, if there is one."""

    follows_activity = False

    def __init__(
        self,
        settings: PowerSettings,
        former: Former,
        now_ns: int,
        *,
        open_event: Open = perf_event.CpuEvent,
    ) -> None:
        """Take the first readings."""
        self._settings = settings
        self._sysfs = SysfsCounters(settings.path_sysfs)
        self._readable_looks = 0
        self._zones = PerfZones(open_event, self._base_uj, self._read_beside)
        self._former = former
        self._to_bridge = {zone: row for zone, row in former.rows.items() if zone.source == SOURCE}
        self._unbridged: set[Zone] = set()  # and not said so yet
        self._published = dict(self._to_bridge)
        self._beside: dict[Zone, tuple[int, tuple[int, int] | None]] = {}  # each zone's newest, with its time
        self._begun_ns = now_ns
        rows = {zone: replace(row, raw=_BEGIN_UJ, raw_range=0) for zone, row in self._to_bridge.items()}
        self._meter = Metered(SOURCE, self._find, replace(former, rows=rows), now_ns)

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted."""
        return self._meter.zones

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""
        return self._meter.resumed

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Return every zone's energy, each up to the time of its own reading."""
        readings = self._meter.read(now_ns)
        for row in readings.rows:
            at_ns, beside = self._beside.get(row.zone, (0, None))
            if row.mono_ns == at_ns:
                self._published[row.zone] = self._with_raw(row, beside)
        rows = [self._published[row.zone] for row in readings.rows]
        return replace(readings, rows=rows, notes=[self._explain(note) for note in readings.notes])

    def begin_again(self) -> None:
        """End all series. Zones read later begin at 0 in a new epoch."""
        self._meter.begin_again()
        self._zones.drop_all_but(())
        self._to_bridge, self._published, self._beside = {}, {}, {}
        self._unbridged.clear()

    def close(self) -> None:
        """Close all events."""
        self._meter.close()
        self._zones.drop_all_but(())
        self._sysfs.close()

    def _find(self) -> Found:
        self._sysfs.look()
        is_readable = self._sysfs.are_readable()
        self._readable_looks = self._readable_looks + 1 if is_readable else 0
        looks = _LOOKS_TO_LEAVE if len(self._zones) else 1
        is_asked_for = is_named(self._settings.power_sources, SOURCE)
        if not is_asked_for and not self._sysfs.are_there:
            self._zones.drop_all_but(())
            return Found(
                why_none="sysfs shows no RAPL zones; to try perf events, set power.sources=+rapl-perf"
            )
        if self._readable_looks >= looks and not is_asked_for:
            self._zones.drop_all_but(())
            return Found(
                why_none="rapl-sysfs reads the same counters, so no perf event is opened; to have both, name "
                "rapl-perf in power.sources"
            )
        place = directory(self._settings.path_sysfs)
        try:
            pmu = find_pmu(self._settings.path_sysfs)
            wanted = wanted_zones(self._settings.path_sysfs, pmu) if pmu is not None else {}
        except (OSError, ValueError) as error:
            return Found(why_none=f"{place}: the PMU can't be used: {error}")
        if pmu is None or not wanted:
            return Found(
                skipped=pmu.skipped if pmu is not None else (),
                why_none=f"{place}: no PMU with energy events: a virtual machine or no x86 processor, or the "
                "kernel's module is missing (`modprobe rapl`)",
            )
        return self._zones.look(pmu, wanted)

    def _base_uj(self, zone: Zone) -> int:
        """The figure that an event begins with: what was used since the former run, if that is known."""
        row = self._to_bridge.pop(zone, None)
        if row is None:
            return _BEGIN_UJ
        since_uj = self._sysfs.since(row)
        if since_uj is None:
            self._unbridged.add(zone)
            return 0
        return _BEGIN_UJ + since_uj

    def _read_beside(self, zone: Zone, sample: Sample) -> None:
        # After perf's count: energy of the time between the two may be lost, but is never counted twice.
        self._beside[zone] = sample.mono_ns, self._sysfs.read(zone)

    def _with_raw(self, row: ZoneEnergy, beside: tuple[int, int] | None) -> ZoneEnergy:
        if beside is None:
            return replace(row, raw_range=0, raw_epoch=self._begun_ns)
        return replace(row, raw=beside[0], raw_range=beside[1])

    def _explain(self, note: Note) -> Note:
        """Return the same note, or another one for a gap that follows from a restart: that is no fault."""
        zone = next((zone for zone in self._unbridged if note.cause.startswith(f"{zone} (")), None)
        if note.event != "gap" or zone is None:
            return note
        self._unbridged.discard(zone)
        stopped = utc(self._former.rows[zone].mono_ns + self._former.unix_minus_mono_ns)
        cause = (
            f"{zone}: perf counts from 0 at each start, and sysfs can't tell what was used since the stop at "
            f"{stopped}: that energy is not counted"
        )
        return Note("gap", cause, level=Level.INFO)
