# SPDX-License-Identifier: Apache-2.0
"""A source whose calls may block, read by a thread of its own.

The loop never waits for it. There is one thread per source for the life of the process, however often the
source fails: a call that hangs keeps it, and when the call returns it goes on by itself.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from wattline.errors import Fatal, Gone, Retry
from wattline.wire.frames import UNREADABLE, Activity, SourceState

from .source import Absent, Former, Note, Readings, Source, Zone, ZoneEnergy

_CLOSE_NS = 1_000_000_000  # for all that a source does at its end, such as ending a session
_DEADLINE_NS_MIN = 2_000_000_000  # a healthy network or driver may take that long
_LOOK_NS = 10_000_000_000  # between two looks for a meter that this machine doesn't have
_KEPT = 16  # answers that the loop has not taken yet
_TEXT_MAX = 200
NO_ANSWER_YET = "no answer yet"

Open = Callable[[Former, int], Source]


@dataclass(frozen=True)
class _Answer:
    """What a call brought: readings, or the error in words, or what ends the service."""

    generation: int
    readings: Readings | None = None
    error: str = ""
    fatal: Fatal | None = None


@runtime_checkable
class Interruptible(Protocol):
    """A source that can end a call of its own which hangs."""

    def interrupt(self) -> None:
        """End the call under way and close; called from another thread, and takes at most 1.5 s."""


class Worker:
    """The newest readings of a source, repeated until there are newer ones."""

    follows_activity = False

    def __init__(self, name: str, open_: Open, former: Former, period_ns: int) -> None:
        """The thread begins at the first `read`. It also calls `open_`, and again after that has failed."""
        self._name = name
        self._open = open_
        self._former = former
        self._period_ns = period_ns
        self._deadline_ns = max(period_ns, _DEADLINE_NS_MIN)
        self._rows: Sequence[ZoneEnergy] = [row for zone, row in former.rows.items() if zone.source == name]
        self.resumed = bool(self._rows)
        self._readings: Readings | None = None  # the newest, without notes
        self._error = ""  # why the newest call has failed
        # Written by the one thread and read by the other, each whole in one step.
        self._answers: deque[_Answer] = deque(maxlen=_KEPT)
        self._called_ns = 0  # when the call that is under way began; 0: none is
        self._generation = 0  # raised when all series are to begin again
        self._asked_ns = 0  # when the thread was asked to end
        self._source: Source | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-worker", daemon=True)

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted and it waits for."""
        return [row.zone for row in self._rows]

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """The newest readings, or the rows of the last good ones and what is wrong. Never waits.

        Raises Fatal if the source has.
        """
        if self._thread.ident is None and not self._asked_ns:
            self._thread.start()
        notes: list[Note] = []
        while self._answers:
            self._take(self._answers.popleft(), notes)
        called_ns = self._called_ns
        if called_ns and now_ns - called_ns > self._deadline_ns:
            reason = f"no answer for {self._deadline_ns / 1e9:g} s or longer; read again once there is one"
            notes.append(Note("no_answer", f"{self._name}: {reason}"))
            return self._without(reason, notes)
        if self._error:
            return self._without(self._error, notes)
        if self._readings is None:
            state = SourceState(name=self._name, up=False, reason=NO_ANSWER_YET)
            return Readings(self._rows, state, notes, nothing_found=not self._rows)
        return replace(self._readings, notes=notes)

    def begin_again(self) -> None:
        """End all series: answers to calls that began before count no more."""
        self._generation += 1
        self._rows, self._readings = [], None

    def ask_to_stop(self) -> None:
        """Have the thread close its source as soon as no call is under way."""
        if not self._asked_ns:
            self._asked_ns = time.monotonic_ns()
            self._stop.set()

    def close(self) -> None:
        """Let the source end its session; give it up after a second, and at once if it has no answer."""
        self.ask_to_stop()
        called_ns = self._called_ns
        if self._thread.ident is None:
            return
        if called_ns and isinstance(self._source, Interruptible):
            self._source.interrupt()
            return
        if not called_ns or self._asked_ns - called_ns <= self._deadline_ns:
            left_ns = self._asked_ns + _CLOSE_NS - time.monotonic_ns()
            self._thread.join(max(0, left_ns) / 1e9)

    def _take(self, answer: _Answer, notes: list[Note]) -> None:
        if answer.fatal is not None:
            raise answer.fatal
        self._error = answer.error
        if answer.error:
            notes.append(Note("source_failed", f"{self._name}: {answer.error}"))
        if answer.readings is None:
            return
        notes += answer.readings.notes
        if answer.generation == self._generation:
            self._rows = [
                replace(row, period_ns=row.period_ns or self._period_ns) for row in answer.readings.rows
            ]
            self._readings = replace(answer.readings, rows=self._rows, notes=())

    def _without(self, reason: str, notes: Sequence[Note]) -> Readings:
        absent = [Absent(self._name, row.zone.name, row.zone.index, UNREADABLE, reason) for row in self._rows]
        return Readings(self._rows, SourceState(name=self._name, up=False, reason=reason), notes, absent)

    def _run(self) -> None:
        generation = 0  # that of the source's series
        due_ns = time.monotonic_ns()
        while not self._stop.is_set():
            wanted = self._generation
            self._called_ns = time.monotonic_ns()
            try:
                if self._source is None:
                    former = self._former if wanted == 0 else Former()
                    self._source = self._open(former, time.monotonic_ns())
                elif generation != wanted:
                    self._source.begin_again()
                generation = wanted
                answer = _Answer(wanted, self._source.read(time.monotonic_ns()))
            except Fatal as error:
                answer = _Answer(wanted, fatal=error)
            except Exception as error:  # noqa: BLE001 the thread must live on; the loop says what it was
                answer = _Answer(wanted, error=_text(error))
            self._answers.append(answer)
            self._called_ns = 0
            now_ns = time.monotonic_ns()
            is_none = answer.readings is not None and answer.readings.nothing_found
            period_ns = max(self._period_ns, _LOOK_NS) if is_none else self._period_ns
            due_ns += period_ns * max(1, -(-(now_ns - due_ns) // period_ns))
            self._stop.wait((due_ns - now_ns) / 1e9)
        if self._source is not None:
            with contextlib.suppress(Exception):  # it ends anyway
                self._source.close()


def _text(error: Exception) -> str:
    is_usual = isinstance(error, OSError | Retry | Gone)
    return f"{'' if is_usual else f'unexpected {type(error).__name__}: '}{str(error)[:_TEXT_MAX]}"
