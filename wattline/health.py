# SPDX-License-Identifier: Apache-2.0
"""The health of a stage, judged by the headers of its frames and of its inputs' frames. Pure.

A stage works while its content advances: the probe samples, power has new readings, metadata answers
activity, the calculator attributes energy, the exporter takes it. A young frame alone proves only that the
process runs.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Protocol

from .pipeline import inputs_of

# A stage may miss two of its ticks and have a moment more: one slow scrape or compile is no fault.
_MISSED_INTERVALS = 3
_GRACE_NS = 2_000_000_000
_NS_PER_S = 1e9


class Header(Protocol):
    """The fields of a frame's header that tell of its stage. All in ns; instants on CLOCK_MONOTONIC.

    `useful_mono_ns`: when the stage's content last advanced, 0 if the stage does not report it.
    `failed_turns`: how many of its turns have failed since.
    """

    @property
    def mono_ns(self) -> int:
        """When the frame was made."""

    @property
    def interval_ns(self) -> int:
        """Time until the next frame is expected."""

    @property
    def useful_mono_ns(self) -> int:
        """See above."""

    @property
    def failed_turns(self) -> int:
        """See above."""


class State(StrEnum):
    """The state of a stage. WORKING and WAITING are no fault of the stage itself."""

    WORKING = "working"
    WAITING = "waiting"  # for a stage before it, which has a fault
    FAILING = "failing"  # its turns end in errors
    STUCK = "stuck"  # it gets what it needs, and makes nothing of it
    SILENT = "silent"  # its frames have stopped
    MISSING = "missing"  # it has no frame at all


class Verdict(NamedTuple):
    """The state of a stage, the reason in words, and the stage at fault (itself or one before it)."""

    state: State
    text: str
    stage: str

    @property
    def is_up(self) -> bool:
        """True if the stage itself has no fault."""
        return self.state in (State.WORKING, State.WAITING)


Find = Callable[[str], Header | None]


def limit_ns(header: Header) -> int:
    """The age from which a stage's newest frame is stale."""
    return overdue_ns(header.interval_ns)


def overdue_ns(interval_ns: int) -> int:
    """The age from which something that is renewed at an interval is overdue."""
    return _MISSED_INTERVALS * interval_ns + _GRACE_NS


def verdict(stage: str, find: Find, now_ns: int) -> Verdict:
    """Judge a stage. `find` gives the newest header of a stage, None if it has no frame."""
    header = find(stage)
    if header is None:
        return Verdict(State.MISSING, f"{stage} has published nothing yet: is it running?", stage)
    age_ns, allowed_ns = now_ns - header.mono_ns, limit_ns(header)
    # A frame of an earlier boot may seem to come from the future.
    if not 0 <= age_ns < allowed_ns:
        text = (
            f"the last frame of {stage} is {_seconds(age_ns)} old, expected at most "
            f"{_seconds(allowed_ns)}: has it ended, or does its log tell of errors?"
        )
        return Verdict(State.SILENT, text, stage)
    return _of_content(stage, header, find, now_ns)


def _of_content(stage: str, header: Header, find: Find, now_ns: int) -> Verdict:
    """Judge a stage whose frames are young by its content."""
    inputs = {name: find(name) for name in inputs_of(stage)}
    # Its content can advance no faster than that which it is made from.
    allowed_ns = max(limit_ns(one) for one in (header, *inputs.values()) if one is not None)
    still_ns = now_ns - header.useful_mono_ns
    if not header.useful_mono_ns or still_ns < allowed_ns:
        return Verdict(State.WORKING, "", stage)
    since = f"the content of {stage} has not advanced for {_seconds(still_ns)}"
    if header.failed_turns:
        text = f"{since}: {header.failed_turns} turns have failed since; its log has the cause"
        return Verdict(State.FAILING, text, stage)
    for name in inputs:
        before = verdict(name, find, now_ns)
        if before.state is not State.WORKING:
            return Verdict(State.WAITING, before.text, before.stage)
    return Verdict(State.STUCK, f"{since} although it gets what it needs; its log may have the cause", stage)


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / _NS_PER_S:.1f} s"
