# SPDX-License-Identifier: Apache-2.0
"""Energy from the RAPL counters that the kernel shows in sysfs (powercap)."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from wattline.second_look import AGREEING
from wattline.wire.frames import MIRROR, UNREADABLE, ZONES_MAX, Activity, SourceState

from .mirrors import Counter, Mirrors
from .needs import Needs
from .rapl_zones import SOURCE, Found, find_zones, listing
from .settings import PowerSettings
from .source import Absent, Former, Level, Note, Readings, Source, Zone, ZoneEnergy, unknown
from .zone_meter import Failure, ZoneMeter


def needs(settings: PowerSettings) -> Needs:  # noqa: ARG001 the same everywhere
    """Only root may read energy_uj since Linux 5.10."""
    return Needs(capabilities=("CAP_DAC_READ_SEARCH",))


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The RAPL zones of this node, also those that come later."""
    return RaplSysfs(settings, former, now_ns)


@dataclass
class _Tick:
    """What one reading of all zones has brought."""

    rows: dict[Zone, ZoneEnergy] = field(default_factory=dict)
    absent: list[Absent] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # why zones that should have a row have none
    notes: list[Note] = field(default_factory=list)
    has_read: bool = False  # any counter


class RaplSysfs:
    """The RAPL zones that there are; which these are is looked up at each reading."""

    follows_activity = False

    def __init__(self, settings: PowerSettings, former: Former, now_ns: int) -> None:
        """Take the first readings: energy counts from them, or from the former run's last ones."""
        self._sysfs = settings.path_sysfs
        self._powercap = self._sysfs / "class" / "powercap"
        self._former = former
        self._meters: dict[Zone, ZoneMeter] = {}  # in the order in which they were found
        self._mirrors = Mirrors()
        self._found = Found()
        self._listing: tuple[str, ...] | None = None
        self._must_look = True
        self._said: set[str] = set()
        # Zones whose energy since they were found, or since they could last not be read, is not published.
        self._unpublished: set[Zone] = set()
        self._published: dict[Zone, ZoneEnergy] = {}  # each zone's newest row
        self._unsaid: list[Note] = []
        self._has_begun = False
        self._unsaid = list(self.read(now_ns).notes)
        self._has_begun = True

    @property
    def zones(self) -> Sequence[Zone]:
        """Those that have been read, or that a former run has counted."""
        return [meter.zone for meter in self._meters.values() if meter.is_listed and meter.epoch]

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""
        return any(zone in self._former.rows for zone in self._meters)

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """The zones that can be read now; the state says which can't."""
        tick = _Tick(absent=list(self._found.unreadable))
        tick.notes, self._unsaid = self._unsaid, []
        self._look(tick)
        self._read_all(tick, now_ns)
        reason = "; ".join(tick.missing)
        if not tick.has_read or self._found.dangling:
            reason = self._found.why_none(self._powercap) or reason
        is_up = tick.has_read and not reason
        return Readings(
            list(tick.rows.values()),
            SourceState(name=SOURCE, up=is_up, reason=reason),
            tick.notes,
            tick.absent,
        )

    def begin_again(self) -> None:
        """End all series. Zones read later begin at 0 in a new epoch."""
        self.close()
        self._meters, self._mirrors, self._former = {}, Mirrors(), Former()
        self._unpublished, self._published = set(), {}
        self._must_look = True

    def close(self) -> None:
        """Close all descriptors."""
        for meter in self._meters.values():
            meter.close()

    def _look(self, tick: _Tick) -> None:
        """Find out which zones there are, if that may have changed since the last time."""
        now = listing(self._powercap)
        if self._must_look or now != self._listing:
            self._listing = now
            self._found = find_zones(self._sysfs)
            self._place(tick)
        self._must_look = bool(self._found.unreadable or self._found.dangling)
        tick.absent = list(self._found.unreadable)
        for one in self._found.unreadable:
            tick.missing.append(one.reason)
            tick.notes.append(Note("unreadable", one.reason))

    def _place(self, tick: _Tick) -> None:
        """Take zones that have appeared; note which have gone."""
        found = {one.zone: one for one in self._found.zones}
        self._miss(found, tick)
        # Those that were counted before lead, should others show the same counter.
        for zone, one in sorted(found.items(), key=lambda item: item[0] not in self._former.rows):
            if zone in self._meters:
                self._meters[zone].place(one)
            elif len(self._meters) < ZONES_MAX:
                self._meters[zone] = ZoneMeter(one, self._former)
                self._unpublished.add(zone)
                if zone in self._former.rows:
                    self._published[zone] = self._former.rows[zone]
                if self._has_begun:
                    tick.notes.append(Note("zone_found", f"{zone}: {one.directory}", level=Level.INFO))
            else:
                self._found.skipped.append(
                    f"{one.directory}: expected at most {ZONES_MAX} zones, got one more"
                )
        for reason in self._found.skipped:
            if reason not in self._said:
                self._said.add(reason)
                tick.notes.append(Note("zone_skipped", reason, level=Level.INFO))

    def _miss(self, found: Container[Zone], tick: _Tick) -> None:
        """Note which zones have gone, or may be among those that can't be read."""
        unread = unknown(self._found.unreadable)
        for zone, meter in self._meters.items():
            if not meter.is_listed or zone in found:
                continue
            if unread:
                meter.missing = f"{zone}: not found, and may be what can't be read: {unread}"
            else:
                meter.is_listed = False
                meter.close()
                tick.notes.append(Note("zone_gone", f"{zone}: its directory has gone", level=Level.INFO))

    def _read_all(self, tick: _Tick, now_ns: int) -> None:
        counters: dict[Zone, Counter] = {}
        for zone, meter in self._meters.items():
            if not meter.is_listed:
                continue
            read = meter.read()
            if isinstance(read, Failure):
                self._must_look = True
                tick.absent.append(Absent(SOURCE, zone.name, zone.index, UNREADABLE, read.reason))
                tick.missing.append(read.reason)
                tick.notes.append(Note("unreadable", read.reason))
            else:
                counters[zone] = read
        tick.has_read = bool(counters)
        self._succeed(counters, tick)
        accepted: dict[Zone, Counter] = {}
        for zone, counter in counters.items():
            row, note = self._meters[zone].take(counter.reading, now_ns)
            if note:
                tick.notes.append(note)
            if row:
                tick.rows[zone] = row
                accepted[zone] = counter
            elif note and note.level is Level.COUNTED:  # one that is only doubted is no fault of the meter
                tick.missing.append(note.cause)
            if note and self._meters[zone].refused_in_row >= AGREEING:  # which don't agree
                tick.absent.append(Absent(SOURCE, zone.name, zone.index, UNREADABLE, note.cause))
        self._withhold_mirrors(accepted, tick)
        self._repeat(tick)

    def _succeed(self, counters: Mapping[Zone, Counter], tick: _Tick) -> None:
        """Let mirrors take the part of counted zones that can't be read, from their last reading on."""
        for zone, meter in self._meters.items():
            if zone in counters:
                continue
            self._unpublished.add(zone)
            if self._mirrors.is_withheld(zone):
                continue
            heir = self._mirrors.successor(zone, counters)
            if heir is not None:
                self._meters[heir].take_over(meter)
                cause = f"{heir} shows the counter of {zone}, which can't be read now, and is counted instead"
                tick.notes.append(Note("zone_mirror", cause, level=Level.INFO))

    def _withhold_mirrors(self, accepted: Mapping[Zone, Counter], tick: _Tick) -> None:
        changes = self._mirrors.judge(accepted, frozenset(self._unpublished), self._published)
        for zone, leader in changes.mirrored:
            cause = f"{zone} shows the counter of {leader}, so its energy is counted once, as {leader}"
            tick.notes.append(Note("zone_mirror", cause, level=Level.WARNING))
        for zone, leader in changes.parted:
            meter = self._meters[zone]
            meter.begin_here()
            if row := meter.row():
                tick.rows[zone] = row
            cause = f"{zone} no longer shows the counter of {leader}, and is counted from now on"
            tick.notes.append(Note("zone_mirror", cause, level=Level.WARNING))
        for zone in accepted:
            counted, held_by = self._mirrors.leader(zone), self._mirrors.held_by(zone)
            if counted is not None:
                del tick.rows[zone]
                self._published.pop(zone, None)
                reason = f"shows the counter of {counted}, which is counted"
                tick.absent.append(Absent(SOURCE, zone.name, zone.index, MIRROR, reason))
            elif held_by is not None:
                if not self._is_known(zone, tick.rows[zone]):
                    del tick.rows[zone]
                reason = f"may show the counter of {held_by}; held until that is known"
                tick.absent.append(Absent(SOURCE, zone.name, zone.index, MIRROR, reason))
            else:
                self._unpublished.discard(zone)
        self._published.update(tick.rows)

    def _repeat(self, tick: _Tick) -> None:
        """Let zones without a new row that are still there keep their last one.

        Whoever goes on from the frame, after a kill, goes on from it in the same epoch.
        """
        for zone, row in self._published.items():
            if self._meters[zone].is_listed and self._mirrors.leader(zone) is None:
                tick.rows.setdefault(zone, row)
        unread = unknown(self._found.unreadable)
        for row in self._former.waiting(SOURCE, self._meters) if unread else ():
            tick.rows[row.zone] = row
            tick.absent.append(Absent(SOURCE, *row.zone.slot, UNREADABLE, unread))

    def _is_known(self, zone: Zone, row: ZoneEnergy) -> bool:
        """True for a held zone that uses nothing: its row counts no energy that another one's may count."""
        published_uj = self._published[zone].energy_uj if zone in self._published else 0
        return self._mirrors.stands_still(zone) and row.energy_uj == published_uj
