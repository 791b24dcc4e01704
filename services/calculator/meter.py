# SPDX-License-Identifier: Apache-2.0
"""One zone's energy over time: readings, interpolation, watermark. Pure; formula 1 in docs/attribution.md."""

from bisect import bisect_right
from dataclasses import dataclass, field

# Readings kept for interpolation while no activity has come; beyond that every other one is given up, which
# costs resolution and no energy.
_POINTS_MAX = 256


@dataclass
class Meter:
    """The energy a zone has shown, and up to when and how far it has been attributed.

    `watermark_ns` and `attributed_uj` are one point of the meter's own cumulative curve; later points wait
    in `points`, in time order.
    """

    epoch: int
    watermark_ns: int
    attributed_uj: int = 0
    points: list[tuple[int, int]] = field(default_factory=list)
    gaps: int = 0

    def read(self, epoch: int, mono_ns: int, energy_uj: int) -> bool:
        """Take a reading; False if it is not newer, or falls though the epoch is the same.

        A new epoch begins at its own time with 0; what flowed before it and was never read is a gap. What was
        read and waits in `points` must have been taken before.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self.watermark_ns = max(self.watermark_ns, epoch)
            self.attributed_uj = 0
            self.points = []
            self.gaps += 1
        last_ns, last_uj = self.points[-1] if self.points else (self.watermark_ns, self.attributed_uj)
        if mono_ns <= last_ns or energy_uj < last_uj:
            return False
        self.points.append((mono_ns, energy_uj))
        if len(self.points) > _POINTS_MAX:
            self.points = [*self.points[:-1:2], self.points[-1]]
        return True

    def energy_at(self, mono_ns: int) -> int:
        """The cumulative curve at a time between the watermark and the newest reading, floored."""
        index = bisect_right(self.points, mono_ns, key=lambda point: point[0])
        before_ns, before_uj = self.points[index - 1] if index else (self.watermark_ns, self.attributed_uj)
        if index == len(self.points):
            return before_uj
        after_ns, after_uj = self.points[index]
        return before_uj + (after_uj - before_uj) * (mono_ns - before_ns) // (after_ns - before_ns)

    def take_until(self, mono_ns: int) -> int:
        """Energy from the watermark to a time, which becomes the watermark."""
        energy_uj = self.energy_at(mono_ns)
        taken_uj = energy_uj - self.attributed_uj
        self.watermark_ns, self.attributed_uj = mono_ns, energy_uj
        self.points = [point for point in self.points if point[0] > mono_ns]
        return taken_uj
