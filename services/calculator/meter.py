# SPDX-License-Identifier: Apache-2.0
"""One zone's energy over time: readings, interpolation, watermark. Pure; formula 1 in docs/attribution.md."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from wattline.zone_power import energy_max_uj

# Readings kept for interpolation while no activity has come; beyond that every other one is given up, which
# costs resolution and no energy.
_POINTS_MAX = 256

Point = tuple[int, int]  # CLOCK_MONOTONIC in ns, cumulative energy in µJ


def energy_at(points: Sequence[Point], mono_ns: int) -> int:
    """A cumulative curve at a time, floored; flat before its first point and after its last."""
    index = bisect_right(points, mono_ns, key=lambda point: point[0])
    if index == 0:
        return points[0][1]
    before_ns, before_uj = points[index - 1]
    if index == len(points):
        return before_uj
    after_ns, after_uj = points[index]
    return before_uj + (after_uj - before_uj) * (mono_ns - before_ns) // (after_ns - before_ns)


def thinned(points: list[Point], most: int = _POINTS_MAX) -> list[Point]:
    """Every other point, if there are more than `most`, and the newest."""
    return [*points[:-1:2], points[-1]] if len(points) > most else points


class Judgement(Enum):
    """What a reading is, compared with the newest one before."""

    NEWER = "newer"
    LATE = "late"  # its time is not above the newest one's: no error
    IMPOSSIBLE = "impossible"  # it can't follow: an older epoch, or energy that fell or grew too fast


@dataclass
class Meter:
    """The energy a zone has shown, and up to when and how far it has been attributed.

    `watermark_ns` and `attributed_uj` are one point of the meter's own cumulative curve; later points wait
    in `points`, in time order. `interpolation_uj`: the most by which `attributed_uj` may be off since no
    reading stands at the watermark; `join_skew_ns`: how far from it the nearest one is.
    """

    epoch: int
    watermark_ns: int
    attributed_uj: int = 0
    points: list[Point] = field(default_factory=list)
    gaps: int = 0
    interpolation_uj: int = 0
    join_skew_ns: int = 0
    # The last reading at or before the watermark: what interpolation starts from may lie after it.
    read_ns: int = 0
    read_uj: int = 0

    def judge(self, epoch: int, mono_ns: int, energy_uj: int, power_max_uw: int) -> Judgement:
        """Tell what a reading would be after the newest one of a meter with this limit of power."""
        last_ns, last_uj = self.newest
        if mono_ns <= last_ns:
            return Judgement.LATE
        if epoch < self.epoch:
            return Judgement.IMPOSSIBLE
        if epoch > self.epoch:
            last_ns, last_uj = epoch, 0
        is_possible = last_uj <= energy_uj <= last_uj + energy_max_uj(power_max_uw, mono_ns - last_ns)
        return Judgement.NEWER if is_possible else Judgement.IMPOSSIBLE

    def read(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Take a reading that was judged to be newer.

        A new epoch begins at its own time with 0; what flowed before it and was never read is a gap. What was
        read and waits in `points` must have been taken before. An epoch that began before the watermark has
        its part until then left out: that time is attributed already.
        """
        if epoch != self.epoch:
            covered_uj = energy_at([(epoch, 0), (mono_ns, energy_uj)], self.watermark_ns)
            self._begin(epoch, max(self.watermark_ns, epoch), covered_uj)
        self.points = thinned([*self.points, (mono_ns, energy_uj)])

    def begin_at(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Go on from a reading that contradicts all earlier ones; the energy up to it is not known: a gap."""
        self._begin(epoch, mono_ns, energy_uj)

    def go_on_at(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Go on from a point of another count: what flowed since the watermark is another series'."""
        self.epoch = epoch
        self.watermark_ns, self.attributed_uj = mono_ns, energy_uj
        self.points = []
        self.read_ns, self.read_uj = mono_ns, energy_uj

    def _begin(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        self.go_on_at(epoch, mono_ns, energy_uj)
        self.gaps += 1

    @property
    def newest(self) -> Point:
        """The newest reading, or the watermark if there is none beyond it."""
        return self.points[-1] if self.points else (self.watermark_ns, self.attributed_uj)

    def take_until(self, mono_ns: int) -> int:
        """Energy from the watermark to a time up to the newest reading, which becomes the watermark."""
        curve = [(self.watermark_ns, self.attributed_uj), *self.points]
        energy_uj = energy_at(curve, mono_ns)
        taken_uj = energy_uj - self.attributed_uj
        passed = [point for point in self.points if point[0] <= mono_ns]
        if passed:
            self.read_ns, self.read_uj = passed[-1]
            self.points = self.points[len(passed) :]
        self.watermark_ns, self.attributed_uj = mono_ns, energy_uj
        self._doubt()
        return taken_uj

    def _doubt(self) -> None:
        """Between two readings the true curve may be anywhere between them."""
        self.join_skew_ns = self.interpolation_uj = 0
        if self.points and self.read_ns < self.watermark_ns:
            next_ns, next_uj = self.points[0]
            self.join_skew_ns = min(self.watermark_ns - self.read_ns, next_ns - self.watermark_ns)
            self.interpolation_uj = max(self.attributed_uj - self.read_uj, next_uj - self.attributed_uj)
