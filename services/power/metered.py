# SPDX-License-Identifier: Apache-2.0
"""The source that any meter becomes once it can say which channels it has (channel.py)."""

from collections.abc import Callable, Sequence

from wattline.second_look import AGREEING
from wattline.wire.frames import UNREADABLE, ZONES_MAX, Activity, SourceState
from wattline.zone_power import power_max_uw

from .channel import Channel, Found, Kind, Sample
from .counter import Account, Gap, Limits, Reading, Refused, resume
from .gauge import GaugeAccount, GaugeLimits
from .source import Absent, Former, Level, Note, Readings, Zone, ZoneEnergy, utc

# How often to look for channels where nothing shows that they may have changed.
LOOK_NS = 10_000_000_000

Find = Callable[[], Found]


class _Book:
    """One zone's channel and account."""

    def __init__(self, channel: Channel, former: Former) -> None:
        self.channel = channel
        self.is_listed = True
        self.epoch = 0  # 0: nothing counted yet
        self.row: ZoneEnergy | None = None  # its newest
        self.refused_in_row = 0
        self._stopped = ""  # when the former run stopped, until this one's first reading
        self._account = _account(channel)
        if row := former.rows.get(channel.zone):
            self.epoch, self.row = row.epoch, row
            self._account = _resumed(channel, row)
            self._stopped = utc(row.mono_ns + former.unix_minus_mono_ns)

    def place(self, channel: Channel) -> None:
        """Go on with the channel that discovery has found for the zone."""
        if channel is self.channel:
            return
        self.channel.close()
        if not self.is_listed and isinstance(self._account, Account):
            self._account.was_away()
        if (channel.kind, channel.range_uj) != (self.channel.kind, self.channel.range_uj):
            energy_uj, gaps = self._account.energy_uj, self._account.gaps
            self._account = _account(channel)
            self._account.energy_uj, self._account.gaps = energy_uj, gaps + 1
        self.channel, self.is_listed = channel, True

    def take(self, sample: Sample, now_ns: int) -> Note | None:
        """Account for a sample; the note says what is wrong with it, if anything is."""
        last = self._account.last
        if last is not None and sample.mono_ns <= last.mono_ns:
            return None  # no new reading
        if isinstance(self._account, Account):
            result = self._account.take(Reading(sample.mono_ns, sample.value))
        else:
            result = self._account.take(sample)
        zone = self.channel.zone
        if isinstance(result, Refused):
            self.refused_in_row += 1
            event, level = ("doubted", Level.INFO) if result.is_doubt else ("refused", Level.COUNTED)
            return Note(event, f"{zone}: reading rejected: {result.reason}", {"raw": sample.value}, level)
        self.refused_in_row = 0
        self.epoch = self.epoch or min(now_ns, sample.mono_ns)
        self.row = self._row(sample)
        return self._gap_note(result) if isinstance(result, Gap) else None

    def _gap_note(self, gap: Gap) -> Note:
        stopped, self._stopped = self._stopped, ""
        since = f" (since the stop at {stopped})" if stopped else ""
        level = Level.INFO if stopped and gap.is_pause else Level.COUNTED
        return Note("gap", f"{self.channel.zone}{since}: {gap.reason}", level=level)

    def _row(self, sample: Sample) -> ZoneEnergy:
        return ZoneEnergy(
            zone=self.channel.zone,
            epoch=self.epoch,
            mono_ns=sample.mono_ns,
            energy_uj=self._account.energy_uj,
            raw=sample.value,
            raw_range=self.channel.range_uj,
            gaps=self._account.gaps,
            period_ns=self.channel.period_ns,
            integration_uj=getattr(self._account, "integration_uj", 0),
        )


class Metered:
    """A meter's zones: which channels there are is looked up again and again, and each is read at each tick.

    A zone that can't be read keeps its last row and is absent with the reason, as in rapl_sysfs.py.
    """

    follows_activity = False

    def __init__(self, name: str, find: Find, former: Former, now_ns: int, *, look_ns: int = LOOK_NS) -> None:
        """`name`: the source's. `find`: discovery, called at the start, each `look_ns` and after failures."""
        self._name = name
        self._find = find
        self._former = former
        self._look_ns = look_ns
        self._looked_ns = 0
        self._must_look = True
        self._found = Found()
        self._books: dict[Zone, _Book] = {}
        self._said: set[str] = set()
        self._has_begun = False
        self._unsaid = list(self.read(now_ns).notes)
        self._has_begun = True

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted and it waits for."""
        return [zone for zone, book in self._books.items() if book.is_listed and book.epoch]

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""
        return any(zone in self._former.rows for zone in self._books)

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Return every zone's energy, each up to the time of its own reading."""
        notes: list[Note] = [] if not self._has_begun else self._unsaid
        self._unsaid = []
        self._look(now_ns, notes)
        absent = list(self._found.unreadable)
        faults = [one.reason for one in absent]
        has_read = False
        for zone, book in self._books.items():
            if not book.is_listed:
                continue
            try:
                sample = book.channel.read()
            except (OSError, ValueError) as error:
                self._must_look = True
                reason = f"{zone}: {book.channel.place}: {getattr(error, 'strerror', None) or error}"
                absent.append(Absent(self._name, zone.name, zone.index, UNREADABLE, reason))
                faults.append(reason)
                notes.append(Note("unreadable", reason))
                continue
            has_read = True
            note = book.take(sample, now_ns)
            if note is None:
                continue
            notes.append(note)
            if book.refused_in_row and note.level is Level.COUNTED:
                faults.append(note.cause)
            if book.refused_in_row >= AGREEING:
                absent.append(Absent(self._name, zone.name, zone.index, UNREADABLE, note.cause))
        reason = "; ".join(faults) if has_read or faults else self._found.why_none
        rows = [book.row for book in self._books.values() if book.is_listed and book.row is not None]
        state = SourceState(name=self._name, up=has_read and not reason, reason=reason)
        return Readings(rows, state, notes, absent)

    def begin_again(self) -> None:
        """End all series. Zones read later begin at 0 in a new epoch."""
        self.close()
        self._books, self._former, self._must_look = {}, Former(), True

    def close(self) -> None:
        """Release everything."""
        for book in self._books.values():
            book.channel.close()

    def _look(self, now_ns: int, notes: list[Note]) -> None:
        if not self._must_look and now_ns - self._looked_ns < self._look_ns:
            return
        self._must_look, self._looked_ns = False, now_ns
        self._found = self._find()
        found = {channel.zone: channel for channel in self._found.channels}
        for zone, book in self._books.items():
            if book.is_listed and zone not in found:
                book.is_listed = False
                book.channel.close()
                notes.append(Note("zone_gone", f"{zone}: {book.channel.place} has gone", level=Level.INFO))
        for zone, channel in found.items():
            if zone in self._books:
                self._books[zone].place(channel)
            elif len(self._books) < ZONES_MAX:
                self._books[zone] = _Book(channel, self._former)
                if self._has_begun:
                    notes.append(Note("zone_found", f"{zone}: {channel.place}", level=Level.INFO))
        for text in self._found.skipped:
            if text not in self._said:
                self._said.add(text)
                notes.append(Note("zone_skipped", text, level=Level.INFO))


def _account(channel: Channel) -> Account | GaugeAccount:
    power_uw = power_max_uw(channel.zone.name, is_measured=True)
    if channel.kind is Kind.GAUGE:
        return GaugeAccount(GaugeLimits(channel.bridge_ns, power_uw))
    return Account(Limits(channel.range_uj, power_uw))


def _resumed(channel: Channel, row: ZoneEnergy) -> Account | GaugeAccount:
    account = _account(channel)
    if isinstance(account, Account):
        last = Reading(row.mono_ns, row.raw)
        return resume(account.limits, row.energy_uj, row.gaps, last, row.raw_range)
    account.energy_uj, account.gaps = row.energy_uj, row.gaps
    account.integration_uj, account.last = row.integration_uj, Sample(row.mono_ns, row.raw)
    return account
