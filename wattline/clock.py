# SPDX-License-Identifier: Apache-2.0
"""Ticks on a schedule that never drifts. Pure: the caller brings the time."""

from dataclasses import dataclass

NS_PER_S = 1_000_000_000


@dataclass
class Schedule:
    """Ticks at the multiples of an interval on CLOCK_MONOTONIC, shifted by a phase.

    Since the multiples are absolute, services with equal intervals tick together without talking, and a
    phase orders them within the interval.
    """

    interval_ns: int
    phase_ns: int = 0
    late_ticks: int = 0
    _due_ns: int = 0

    def start(self, now_ns: int) -> None:
        """Begin: the first tick is the next one of the grid."""
        self._due_ns = self._following(now_ns)

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next tick; 0 if it is due."""
        return max(0, self._due_ns - now_ns)

    def take(self, now_ns: int) -> bool:
        """Whether a tick is due; if so it counts as done, and whole intervals that were missed as late."""
        if now_ns < self._due_ns:
            return False
        missed = (now_ns - self._due_ns) // self.interval_ns
        self.late_ticks += missed
        self._due_ns += (missed + 1) * self.interval_ns
        return True

    def _following(self, now_ns: int) -> int:
        ticks = (now_ns - self.phase_ns) // self.interval_ns + 1
        return ticks * self.interval_ns + self.phase_ns
