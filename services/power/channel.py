# SPDX-License-Identifier: Apache-2.0
"""The parts that a meter is made of: its channels, one per zone, and how each is read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from .source import Absent, Zone

_SHOWN_MAX = 4  # of a list in a message


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure that a meter showed, with CLOCK_MONOTONIC at its instant. The unit is the channel's."""

    mono_ns: int
    value: int


class Kind(Enum):
    """What a channel's figure is."""

    COUNTER = "counter"  # µJ; wraps at the channel's range, or counts since some start if it has none
    GAUGE = "gauge"  # µW


def _nothing() -> None:
    """A channel without a descriptor needs no closing."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One zone of a meter.

    `place`: where it is, for messages (a path, a URL). `read`: returns the newest sample; raises OSError or
    ValueError, whose text says what is wrong. A sample whose time isn't newer than the last one's is no new
    reading. `range_uj`: where a counter wraps, 0 if it doesn't. `bridge_ns`: the longest pause that a gauge's
    power may be drawn across as a straight line. `period_ns`: how often a new sample is to be expected, 0 for
    at each tick.
    """

    zone: Zone
    place: str
    read: Callable[[], Sample]
    kind: Kind
    range_uj: int = 0
    bridge_ns: int = 0
    period_ns: int = 0
    close: Callable[[], None] = _nothing


@dataclass
class Found:
    """The channels of a meter, as discovery finds them.

    `unreadable`: zones that are there but can't be read. `skipped`: why others are left out, one text each.
    `why_none`: why there are no channels, with the cure; for a machine that simply has no such meter too.
    """

    channels: Sequence[Channel] = ()
    unreadable: Sequence[Absent] = ()
    skipped: Sequence[str] = field(default_factory=list)
    why_none: str = ""


def sampled(read: Callable[[], int]) -> Sample:
    """A figure and the middle of the time that reading it took."""
    before_ns = time.monotonic_ns()
    value = read()
    return Sample((before_ns + time.monotonic_ns()) // 2, value)


def first_few(texts: Sequence[str]) -> str:
    """A list for a message, which stays short however many there are."""
    few, more = texts[:_SHOWN_MAX], len(texts) - _SHOWN_MAX
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")
