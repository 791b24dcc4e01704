# SPDX-License-Identifier: Apache-2.0
"""The source that any meter becomes once it can say which channels it has (channel.py)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wattline.second_look import AGREEING
from wattline.wire.frames import UNREADABLE, ZONES_MAX, Activity, SourceState

from .book import Book
from .channel import Channel, Found, first_few
from .source import Absent, Former, Level, Note, Readings, Zone, ZoneEnergy, unknown

# How often to look for channels where nothing shows that they may have changed.
LOOK_NS = 10_000_000_000

Find = Callable[[], Found]


@dataclass
class _Tick:
    """What one reading of all channels has brought."""

    notes: list[Note]
    absent: list[Absent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    has_read: bool = False  # any channel


class Metered:
    """A meter's zones: which channels there are is looked up again and again, and each is read at each tick.

    A zone that can't be read keeps its last row and is absent with the reason, as in rapl_sysfs.py.
    """

    follows_activity = False

    def __init__(self, name: str, find: Find, former: Former, now_ns: int, *, look_ns: int = LOOK_NS) -> None:
        """`name`: the source's. `find`: discovery, called at the start, each `look_ns` and after failures.

        If `find` raises OSError or ValueError, the channels that it has found before are read on.
        """
        self._name = name
        self._find = find
        self._former = former
        self._look_ns = look_ns
        self._looked_ns = 0
        self._must_look = True
        self._found = Found()
        self._fault = ""  # why discovery failed
        self._books: dict[Zone, Book] = {}
        self._said: set[str] = set()
        self._unsaid: list[Note] = []
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
        tick = _Tick(self._unsaid)
        self._unsaid = []
        if self._must_look or now_ns - self._looked_ns >= self._look_ns:
            self._look(now_ns, tick)
        if self._fault:
            tick.faults.append(self._fault)
        tick.absent += self._found.unreadable
        tick.faults += (one.reason for one in self._found.unreadable)
        tick.notes += (Note("unreadable", one.reason) for one in self._found.unreadable)
        for book in self._books.values():
            if book.is_listed:
                self._read(book, now_ns, tick)
        reason = "; ".join(tick.faults) if tick.has_read or tick.faults else self._found.why_none
        rows = [book.row for book in self._books.values() if book.is_listed and book.row is not None]
        rows += self._waiting(tick)
        state = SourceState(name=self._name, up=tick.has_read and not reason, reason=reason)
        is_none = not (tick.has_read or tick.faults or rows)
        return Readings(rows, state, tick.notes, tick.absent, nothing_found=is_none)

    def begin_again(self) -> None:
        """End all series. Zones read later begin at 0 in a new epoch."""
        self.close()
        self._books, self._former, self._must_look = {}, Former(), True

    def close(self) -> None:
        """Release everything."""
        for book in self._books.values():
            book.channel.close()

    def _read(self, book: Book, now_ns: int, tick: _Tick) -> None:
        zone = book.channel.zone
        try:
            sample = book.read()
        except (OSError, ValueError) as error:
            self._must_look = True
            reason = f"{zone}: {book.channel.place}: {_text(error)}"
            tick.absent.append(Absent(self._name, zone.name, zone.index, UNREADABLE, reason))
            tick.faults.append(reason)
            tick.notes.append(Note("unreadable", reason))
            return
        tick.has_read = True
        if note := book.take(sample, now_ns):
            tick.notes.append(note)
        if book.is_faulty:
            tick.faults.append(book.rejection)
        if book.refused_in_row >= AGREEING:  # which don't agree
            tick.absent.append(Absent(self._name, zone.name, zone.index, UNREADABLE, book.rejection))

    def _look(self, now_ns: int, tick: _Tick) -> None:
        """Find out which channels there are."""
        self._must_look, self._looked_ns = False, now_ns
        try:
            self._found, self._fault = self._find(), ""
        except (OSError, ValueError) as error:
            self._must_look, self._fault = True, f"{self._name}: looking for meters failed: {_text(error)}"
            tick.notes.append(Note("unreadable", self._fault))
            return
        found = {channel.zone: channel for channel in self._found.channels}
        unread = unknown(self._found.unreadable)
        for zone, book in self._books.items():
            if not book.is_listed or zone in found:
                continue
            if unread:
                book.missing = f"not found, and may be what can't be read: {unread}"
            else:
                book.is_listed = False
                book.channel.close()
                tick.notes.append(
                    Note("zone_gone", f"{zone}: {book.channel.place} has gone", level=Level.INFO)
                )
        for text in [*self._found.skipped, *self._place(found, tick)]:
            if text not in self._said:
                self._said.add(text)
                tick.notes.append(Note("zone_skipped", text, level=Level.INFO))

    def _waiting(self, tick: _Tick) -> list[ZoneEnergy]:
        """Rows of a former run whose zones may be among those that can't be found yet; they are absent."""
        unread = self._fault or unknown(self._found.unreadable)
        rows = self._former.waiting(self._name, self._books) if unread else []
        tick.absent += [Absent(self._name, *row.zone.slot, UNREADABLE, unread) for row in rows]
        return rows

    def _place(self, found: Mapping[Zone, Channel], tick: _Tick) -> list[str]:
        """Take the channels that were found; return why some are left out."""
        left_out: list[str] = []
        for zone, channel in found.items():
            if zone in self._books:
                if note := self._books[zone].place(channel):
                    tick.notes.append(note)
            elif self._has_room():
                self._books[zone] = Book(channel, self._former)
                if self._has_begun:
                    tick.notes.append(Note("zone_found", f"{zone}: {channel.place}", level=Level.INFO))
            else:
                channel.close()
                left_out.append(channel.place)
        if not left_out:
            return []
        got = ZONES_MAX + len(left_out)
        return [f"expected at most {ZONES_MAX} zones, got {got}; left out: {first_few(left_out)}"]

    def _has_room(self) -> bool:
        """Make room for one more zone, if one has gone; should that come back, it begins a new epoch."""
        if len(self._books) < ZONES_MAX:
            return True
        gone = next((zone for zone, book in self._books.items() if not book.is_listed), None)
        if gone is None:
            return False
        del self._books[gone]
        rows = {zone: row for zone, row in self._former.rows.items() if zone != gone}
        self._former = replace(self._former, rows=rows)
        return True


def _text(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
