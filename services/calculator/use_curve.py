# SPDX-License-Identifier: Apache-2.0
"""How busy processors were over time, to be asked for any stretch of it. Pure.

Idle power is learned from whole readings of a meter, with the use of just that time: energy cut at the times
of activity would be smeared over the load's changes, and make power seem to depend less on use.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

# So many windows are remembered: a minute at ten a second, for a meter that is read once a minute.
_WINDOWS_MAX = 1024


class Busy(NamedTuple):
    """Processor time used, and how much there was, in ns."""

    busy_ns: int
    capacity_ns: int


class _Stretch(NamedTuple):
    start_ns: int
    end_ns: int
    by_socket: dict[int, Busy]


@dataclass
class UseCurve:
    """Use in adjoining or gapped stretches, taken as even within each."""

    _stretches: list[_Stretch] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        """Up to when use is known."""
        return self._stretches[-1].end_ns if self._stretches else 0

    @property
    def resolution_ns(self) -> int:
        """How long the newest stretch is: use within it is not known."""
        return self._stretches[-1].end_ns - self._stretches[-1].start_ns if self._stretches else 0

    @property
    def sockets(self) -> set[int]:
        """The sockets that the newest stretch tells apart."""
        return set(self._stretches[-1].by_socket) if self._stretches else set()

    def add(self, start_ns: int, end_ns: int, by_socket: dict[int, Busy]) -> None:
        """The next stretch."""
        self._stretches.append(_Stretch(start_ns, end_ns, by_socket))
        if len(self._stretches) > 2 * _WINDOWS_MAX:
            self._stretches = self._stretches[-_WINDOWS_MAX:]

    def between(self, start_ns: int, end_ns: int, socket: int | None) -> Busy | None:
        """Use in a stretch of time on a socket, or on all (None); None if not all of that time is known."""
        busy = capacity = covered_ns = 0
        first = bisect_right(self._stretches, start_ns, key=lambda one: one.end_ns)
        for index in range(first, len(self._stretches)):
            one = self._stretches[index]
            overlap_ns = min(one.end_ns, end_ns) - max(one.start_ns, start_ns)
            if overlap_ns <= 0:
                break
            covered_ns += overlap_ns
            length_ns = one.end_ns - one.start_ns
            for on, used in one.by_socket.items():
                if socket in (None, on):
                    busy += used.busy_ns * overlap_ns // length_ns
                    capacity += used.capacity_ns * overlap_ns // length_ns
        return Busy(busy, capacity) if covered_ns == end_ns - start_ns else None
