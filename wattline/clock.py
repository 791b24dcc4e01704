# SPDX-License-Identifier: Apache-2.0
"""Ticks on a schedule that never drifts, and the time of frames. Pure: the caller brings the time."""

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


@dataclass
class FrameClock:
    """A clock that goes by frames: it stands at the greatest `mono_ns` of any so far.

    `unix_ns` follows from that frame's own two times, never from this machine's.
    """

    mono_ns: int = 0
    _unix_minus_mono_ns: int = 0

    def take(self, mono_ns: int, unix_ns: int) -> None:
        """Go on to the time of a frame; an older one changes nothing."""
        if mono_ns >= self.mono_ns:
            self.mono_ns = mono_ns
            self._unix_minus_mono_ns = unix_ns - mono_ns

    def unix_ns(self, mono_ns: int) -> int:
        """The wall clock of the frames at an instant."""
        return max(0, mono_ns + self._unix_minus_mono_ns)


SPEED_PATTERN = r"^(max|[0-9]+(\.[0-9]+)?)$"


@dataclass
class Pace:
    """When each frame of a recording is due, so that their distances are those of their times ÷ a speed."""

    speed_ratio: float  # 0: at once
    _begun: tuple[int, int] | None = None  # when the first was due here, and its own time

    @classmethod
    def of(cls, speed: str) -> "Pace":
        """From what SPEED_PATTERN allows."""
        return cls(0.0 if speed == "max" else float(speed))

    def wait_ns(self, mono_ns: int, now_ns: int) -> int:
        """How long from now until the frame of this time is due; the first one is at once."""
        if not self.speed_ratio:
            return 0
        if self._begun is None:
            self._begun = (now_ns, mono_ns)
        begun_ns, first_ns = self._begun
        return max(0, begun_ns + round((mono_ns - first_ns) / self.speed_ratio) - now_ns)
