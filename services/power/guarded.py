# SPDX-License-Identifier: Apache-2.0
"""One source in use, so wrapped that whatever goes wrong in it stays with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from wattline.errors import Fatal
from wattline.wire.frames import UNREADABLE, Activity, SourceState

from .source import Absent, Former, Note, Readings, Source, Zone, ZoneEnergy
from .sources import Way

_TEXT_MAX = 200  # characters of an unexpected error
_COLUMN_MAX, _GAPS_MAX = 2**64 - 1, 2**32 - 1  # of the wire's columns
_OPEN_AGAIN_NS = 10_000_000_000


@dataclass(frozen=True)
class Use:
    """A source in use: its name, its rank, how it is read, and how it is opened (at a time, in ns).

    `is_named`: it is shown whatever it finds.
    """

    name: str
    rank: int
    way: Way
    open: Callable[[Former, int], Source]
    is_named: bool = False


@runtime_checkable
class Derived(Protocol):
    """A source that makes its rows of those that other sources have just given."""

    def on_rows(self, rows: Sequence[ZoneEnergy]) -> None:
        """Take the rows of this tick; `read` follows."""


class Guarded:
    """A source that never raises anything but Fatal, and whose rows can always be published.

    One that raises (a mistake of ours, an odd file) keeps its rows, is not up, and is read again
    at the next tick; one that can't be opened is opened again every ten seconds.
    """

    def __init__(self, use: Use, former: Former, now_ns: int) -> None:
        """`former`: the whole last frame's."""
        self.use = use
        self._former = former
        self._rows: Sequence[ZoneEnergy] = [
            row for zone, row in former.rows.items() if zone.source == use.name
        ]
        self._failed_to_open = ""
        self._source: Source | None = None
        self._open(now_ns)

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted and it waits for."""
        return [row.zone for row in self._rows] if self._source is None else self._source.zones

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""
        return bool(self._rows) if self._source is None else self._source.resumed

    @property
    def follows_activity(self) -> bool:
        """True if it has something new when activity comes."""
        return self._source is not None and self._source.follows_activity

    def on_activity(self, activity: Activity) -> None:
        """Take what the node did."""
        if self._source is not None:
            self._source.on_activity(activity)

    def on_rows(self, rows: Sequence[ZoneEnergy]) -> None:
        """Hand on the rows of this tick to a derived source."""
        if isinstance(self._source, Derived):
            self._source.on_rows(rows)

    def read(self, now_ns: int, clock: Callable[[], int]) -> Readings:
        """Return every zone's energy, with this source's rank.

        `clock`: CLOCK_MONOTONIC in ns. Rows of a time to come can't be true, and would spoil the frame.
        """
        if self._source is None and now_ns - self._opened_ns >= _OPEN_AGAIN_NS:
            self._open(now_ns)
        if self._source is None:
            return self._without(self._failed_to_open)
        try:
            readings = self._source.read(now_ns)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 one source's fault must not be all sources' (decision 24)
            return self._without(_text(error))
        rows, notes, until_ns = [], list(readings.notes), clock()
        for row in readings.rows:
            if wrong := _unfit(row, self.use.name, until_ns):
                notes.append(Note("refused", f"{self.use.name}, {row.zone}: row left out: {wrong}"))
            else:
                rows.append(row if row.rank == self.use.rank else replace(row, rank=self.use.rank))
        self._rows = rows
        return replace(readings, rows=rows, notes=notes)

    def begin_again(self) -> None:
        """End all series."""
        self._rows, self._former = [], Former()
        self._attempt(lambda source: source.begin_again())

    def close(self) -> None:
        """Release everything."""
        self._attempt(lambda source: source.close())

    def ask_to_stop(self) -> None:
        """Have a worker begin to close its source, so that several do so at once."""
        self._attempt(lambda source: getattr(source, "ask_to_stop", lambda: None)())

    def _open(self, now_ns: int) -> None:
        self._opened_ns = now_ns
        try:
            self._source = self.use.open(self._former, now_ns)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 as in read
            self._failed_to_open = f"can't be opened: {_text(error)}"

    def _attempt(self, action: Callable[[Source], object]) -> None:
        try:
            if self._source is not None:
                action(self._source)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 as in read; it is opened anew
            self._source, self._failed_to_open = None, _text(error)

    def _without(self, reason: str) -> Readings:
        """The last rows again: the next run goes on from them, and readers know them by their time."""
        rows = [replace(row, rank=self.use.rank) for row in self._rows]
        absent = [
            Absent(self.use.name, row.zone.name, row.zone.index, UNREADABLE, f"{row.zone}: {reason}")
            for row in rows
        ]
        state = SourceState(name=self.use.name, up=False, reason=reason)
        return Readings(rows, state, [Note("source_failed", f"{self.use.name}: {reason}")], absent)


def _unfit(row: ZoneEnergy, name: str, until_ns: int) -> str:
    """Why a row can't be in a frame; empty if it can."""
    if row.zone.source != name:
        return f"expected the source {name}, got {row.zone.source!r:.40}"
    if not 0 <= row.mono_ns <= until_ns:
        return f"expected a time of at most {until_ns} ns (now), got {row.mono_ns}"
    if not 0 <= row.epoch <= row.mono_ns:
        return f"expected an epoch of at most its time, {row.mono_ns} ns, got {row.epoch}"
    wide = (row.energy_uj, row.raw, row.raw_range, row.raw_epoch, row.period_ns, row.integration_uj)
    narrow = (row.gaps, row.error_ratio_ppm)
    if not (min(wide + narrow) >= 0 and max(wide) <= _COLUMN_MAX and max(narrow) <= _GAPS_MAX):
        return "expected figures that fit into the columns of docs/wire.md"
    return ""


def _text(error: Exception) -> str:
    """An error's kind, its text and where it was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = f" (at {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno})" if at is not None else ""
    return f"unexpected {type(error).__name__}: {str(error)[:_TEXT_MAX]}{place}"
