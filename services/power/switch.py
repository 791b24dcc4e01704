# SPDX-License-Identifier: Apache-2.0
"""Which source is in use: the first in order that has a zone to read, at any time.

A switch ends one series and begins another: the two never cover the same time.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from wattline.wire.frames import SourceState

from .source import Absent, Former, Level, Note, Readings, Source, ZoneEnergy

# After so many readings in a row without a new row, the next source takes over. Fewer may be missing for a
# moment, as when a driver is loaded anew.
SILENT_MAX = 5

Open = Callable[[Former], Source]


class Switch:
    """The sources up to the one in use; those before it are read each time, in case they have a zone."""

    def __init__(self, order: Sequence[Open], former: Former) -> None:
        """Use the first source that has a zone. `order`: how to open each; the last one always has some."""
        self._order = order
        self._opened = [order[0](former)]
        self._silent = 0
        self._has_begun = False
        self._until_ns = former.until_ns
        while not self.source.zones and len(self._opened) < len(order):
            self.source.begin_again()
            self._opened.append(order[len(self._opened)](former))

    @property
    def source(self) -> Source:
        """The one in use."""
        return self._opened[-1]

    def read(self, now_ns: int) -> tuple[Readings, list[SourceState]]:
        """Return what the source in use has read, and how it and those before it do."""
        states: list[SourceState] = []
        notes: list[Note] = []
        absent: list[Absent] = []
        rows: Sequence[ZoneEnergy] = ()
        for place, source in enumerate(self._opened):
            readings = source.read(now_ns)
            rows = readings.rows
            states.append(readings.state)
            notes += readings.notes
            absent += readings.absent
            if rows and source is not self.source:
                self._return_to(place)
                notes.append(_in_use(readings, rows))
                break
        if not self._has_begun:
            self._has_begun = True
            notes += [_not_used(state) for state in states[:-1]]
        newest_ns = max((row.mono_ns for row in rows), default=0)
        self._silent = 0 if newest_ns > self._until_ns else self._silent + 1  # rows may be repeated
        self._until_ns = max(self._until_ns, newest_ns)
        if self._silent >= SILENT_MAX and len(self._opened) < len(self._order):
            notes.append(_not_in_use(states[-1]))
            self._take_next()
        return replace(readings, rows=rows, notes=notes, absent=absent), states

    def close(self) -> None:
        """Close all sources."""
        for source in self._opened:
            source.close()

    def _return_to(self, place: int) -> None:
        for source in self._opened[place + 1 :]:
            source.close()
        self._opened = self._opened[: place + 1]

    def _take_next(self) -> None:
        self.source.begin_again()
        self._opened.append(self._order[len(self._opened)](Former(until_ns=self._until_ns)))
        self._silent = 0


def _not_used(state: SourceState) -> Note:
    return Note("source_not_used", state.reason, {"source": state.name}, Level.INFO)


def _in_use(readings: Readings, rows: Sequence[ZoneEnergy]) -> Note:
    zones = ", ".join(str(row.zone) for row in rows)
    cause = f"{readings.state.name} has zones now: the series of the source before end"
    return Note("source", cause, {"source": readings.state.name, "zones": zones}, Level.INFO)


def _not_in_use(state: SourceState) -> Note:
    cause = f"nothing new in {SILENT_MAX} readings, so the next source takes over: {state.reason}"
    return Note("source_silent", cause, {"source": state.name}, Level.WARNING)
