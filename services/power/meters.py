# SPDX-License-Identifier: Apache-2.0
"""All sources in use: every meter is read at each tick; the estimate stands in while none has anything new.

An estimate and a meter never cover the same time: each change between them ends series and begins others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wattline.wire.frames import ZONES_MAX, Activity, SourceState

from .guarded import Guarded, Use
from .source import Absent, Former, Level, Note, Readings, Zone, ZoneEnergy
from .sources import Way
from .worker import NO_ANSWER_YET

# After so many readings in a row without a new row, the estimate takes over; of a zone that is renewed only
# once per period, after so many periods. Fewer may be missing for a moment, as when a driver is loaded anew.
SILENT_MAX = 5
# A slow meter's newest reading may be so many of its periods old, since it also takes time to arrive.
_DUE_PERIODS = 3


@dataclass
class Tick:
    """One reading of all sources."""

    rows: list[ZoneEnergy] = field(default_factory=list)
    states: list[SourceState] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    has_new: bool = False  # a row with a later time than ever
    is_waiting: bool = False  # nothing new is due: the next reading of a slow meter is yet to come


@dataclass
class _Meter:
    """A source and how new its rows are."""

    source: Guarded
    newest_ns: int = 0
    awaited_ns: int = 0  # until when it isn't silent, for its zones are renewed only once per period
    due_ns: int = 0  # until when its next reading may be yet to come
    is_newer: bool = False
    has_rows: bool = False

    def look(self, rows: Sequence[ZoneEnergy]) -> None:
        newest_ns = max((row.mono_ns for row in rows), default=0)
        self.is_newer = newest_ns > self.newest_ns
        self.newest_ns, self.has_rows = max(self.newest_ns, newest_ns), bool(rows)
        slow = [row for row in rows if row.period_ns]
        self.awaited_ns = max((row.mono_ns + SILENT_MAX * row.period_ns for row in slow), default=0)
        self.due_ns = max((row.mono_ns + _DUE_PERIODS * row.period_ns for row in slow), default=0)


class Meters:
    """The sources in use, in the order of preference."""

    def __init__(self, uses: Sequence[Use], former: Former, now_ns: int, clock: Callable[[], int]) -> None:
        """Open all meters, and the estimate if none of them has a zone. `clock`: CLOCK_MONOTONIC in ns."""
        self._clock = clock
        self._estimate = next((use for use in uses if use.way is Way.ESTIMATE), None)
        self._estimator: Guarded | None = None
        self._meters = [
            _opened(use, former, now_ns) for use in uses if use.way not in (Way.ESTIMATE, Way.ROWS)
        ]
        self._derived = [Guarded(use, former, now_ns) for use in uses if use.way is Way.ROWS]
        self._silent = 0
        self._until_ns = former.until_ns  # the time of the newest row of all
        self._estimated_ns = 0  # up to when an estimate has counted
        self._named = {use.name for use in uses if use.is_named}
        self._said_unused: set[str] = set()  # sources without a zone, whose reason the log has
        if not any(meter.source.zones for meter in self._meters):
            self._take_over(former, now_ns)

    @property
    def resumed(self) -> bool:
        """True if any source goes on from a former row."""
        return any(source.resumed for source in self._sources())

    @property
    def follows_activity(self) -> bool:
        """True if there is something new when activity comes."""
        return self._estimator is not None and self._estimator.follows_activity

    def zones(self) -> dict[str, Sequence[Zone]]:
        """The zones of each source that has any."""
        return {source.use.name: zones for source in self._sources() if (zones := source.zones)}

    def on_activity(self, activity: Activity) -> None:
        """Take what the node did; only an estimate has a use for it."""
        if self._estimator is not None:
            self._estimator.on_activity(activity)

    def read(self, now_ns: int) -> Tick:
        """Read all sources."""
        tick = Tick()
        for meter in self._meters:
            readings, had_rows = meter.source.read(now_ns, self._clock), meter.has_rows
            meter.look(readings.rows)
            self._add(meter.source, readings, tick)
            if meter.source.use.way is Way.WORKER and meter.has_rows and not had_rows:
                tick.notes.append(_found(meter.source.use.name, readings.rows))
        tick.has_new = any(meter.is_newer for meter in self._meters)
        tick.is_waiting = any(meter.due_ns > now_ns for meter in self._meters)
        if self._estimator is not None and tick.has_new:
            self._return(tick)
        self._withhold(tick)
        self._derive(now_ns, tick)
        if self._estimator is not None:
            self._read_estimate(self._estimator, now_ns, tick)
        tick.notes += self._not_used(tick)
        self._limit(tick)
        self._until_ns = max(self._until_ns, *(row.mono_ns for row in tick.rows), 0)
        self._mind_silence(now_ns, tick)
        return tick

    def close(self) -> None:
        """Close all sources; workers at the same time."""
        for source in self._sources():
            source.ask_to_stop()
        for source in self._sources():
            source.close()

    def _sources(self) -> list[Guarded]:
        last = [] if self._estimator is None else [self._estimator]
        return [*(meter.source for meter in self._meters), *self._derived, *last]

    def _add(self, source: Guarded, readings: Readings, tick: Tick) -> None:
        tick.rows += readings.rows
        tick.notes += readings.notes
        tick.absent += readings.absent
        if source.use.is_named or not readings.nothing_found:
            tick.states.append(readings.state)

    def _withhold(self, tick: Tick) -> None:
        """Begin series anew that begin within time that an estimate has covered, as a slow meter's may."""
        late = {row.zone.source for row in tick.rows if row.epoch < self._estimated_ns}
        if not late:
            return
        for meter in self._meters:
            if meter.source.use.name in late:
                meter.source.begin_again()
        tick.rows = [row for row in tick.rows if row.zone.source not in late]

    def _derive(self, now_ns: int, tick: Tick) -> None:
        measured = list(tick.rows)
        for source in self._derived:
            source.on_rows(measured)
            self._add(source, source.read(now_ns, self._clock), tick)

    def _read_estimate(self, estimator: Guarded, now_ns: int, tick: Tick) -> None:
        readings = estimator.read(now_ns, self._clock)
        newest_ns = max((row.mono_ns for row in readings.rows), default=0)
        tick.has_new = tick.has_new or newest_ns > self._estimated_ns
        self._estimated_ns = max(self._estimated_ns, newest_ns)
        self._add(estimator, readings, tick)

    def _return(self, tick: Tick) -> None:
        """Meters have something new: the estimate ends."""
        if self._estimator is not None:
            self._estimator.close()
        self._estimator = None
        for meter in self._meters:
            if meter.is_newer:
                name = meter.source.use.name
                zones = ", ".join(str(row.zone) for row in tick.rows if row.zone.source == name)
                cause = f"{name} has zones now: the series of the source before end"
                tick.notes.append(Note("source", cause, {"source": name, "zones": zones}, Level.INFO))

    def _mind_silence(self, now_ns: int, tick: Tick) -> None:
        is_awaited = any(meter.awaited_ns > now_ns for meter in self._meters)
        self._silent = 0 if tick.has_new or is_awaited else self._silent + 1
        if self._silent >= SILENT_MAX and self._estimator is None and self._estimate is not None:
            tick.notes.append(_silent(tick.states))
            self._take_over(Former(until_ns=self._until_ns), now_ns)
            self._silent = 0

    def _take_over(self, former: Former, now_ns: int) -> None:
        """Open the estimate, if there is one in use; meters that come back begin anew."""
        if self._estimate is None:
            return
        for meter in self._meters:
            meter.source.begin_again()
        for source in self._derived:
            source.begin_again()
        self._estimator = Guarded(self._estimate, former, now_ns)

    def _not_used(self, tick: Tick) -> list[Note]:
        """Why sources have no zone, once each: those that are named, and all while no meter has a zone."""
        with_rows = {row.zone.source for row in tick.rows}
        estimate = "" if self._estimate is None else self._estimate.name
        has_zones = any(meter.has_rows for meter in self._meters)
        self._said_unused -= with_rows
        unused = [
            state
            for state in tick.states
            if not state.up
            and state.name not in with_rows | self._said_unused | {estimate}
            and state.reason != NO_ANSWER_YET
            and (state.name in self._named or not has_zones)
        ]
        self._said_unused |= {state.name for state in unused}
        causes = [note.cause for note in tick.notes]
        return [
            Note("source_not_used", state.reason, {"source": state.name}, Level.INFO)
            for state in unused
            if not any(state.reason in cause for cause in causes)
        ]

    def _limit(self, tick: Tick) -> None:
        """Leave out what is beyond the zones that a frame may have, the least preferred ones."""
        if len(tick.rows) <= ZONES_MAX:
            return
        tick.rows.sort(key=lambda row: (row.rank, row.zone))
        names = ", ".join(sorted({row.zone.source for row in tick.rows[ZONES_MAX:]}))
        del tick.rows[ZONES_MAX:]
        cause = f"expected at most {ZONES_MAX} zones of all sources, got more: zones of {names} are left out"
        tick.notes.append(Note("zones_left_out", cause))


def _opened(use: Use, former: Former, now_ns: int) -> _Meter:
    newest_ns = max((row.mono_ns for zone, row in former.rows.items() if zone.source == use.name), default=0)
    return _Meter(Guarded(use, former, now_ns), newest_ns, has_rows=newest_ns > 0)


def _found(name: str, rows: Sequence[ZoneEnergy]) -> Note:
    """What the log has of a worker: at the start it has no answer yet."""
    zones = ", ".join(str(row.zone) for row in rows)
    return Note("source", f"{name} has zones now", {"source": name, "zones": zones}, Level.INFO)


def _silent(states: Sequence[SourceState]) -> Note:
    reasons = "; ".join(f"{state.name}: {state.reason}" for state in states if state.reason)
    cause = f"nothing new in {SILENT_MAX} readings, so energy is estimated: {reasons or 'no meter is left'}"
    names = ", ".join(state.name for state in states)
    return Note("source_silent", cause, {"source": names}, Level.WARNING)
