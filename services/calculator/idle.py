# SPDX-License-Identifier: Apache-2.0
"""Idle power of one zone, learned from utilisation and power. Pure; formula 3 in docs/attribution.md.

Power is averaged in bins of utilisation. The lower convex hull of the bins is the envelope under which the
zone has not been seen; its leftmost edge, extended to utilisation 0, gives the idle power. With too little
spread of utilisation to tell a slope, the part 1 - utilisation of the lowest power seen is taken as idle:
right when idle, and never all of it when busy.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

BINS = 32
_NS_PER_S = 1_000_000_000
_UW_PER_UJ_NS = 1_000_000_000  # µW × ns = 10⁻⁹ µJ
# A bin needs this much observed time before it counts: one odd window must not set the idle power.
_BIN_NS_MIN = 2 * _NS_PER_S
# Older observations fade: a bin never weighs more than this much time, so a change of governor or firmware
# is learned within minutes.
_BIN_NS_MAX = 300 * _NS_PER_S
# Below this spread between the outermost bins a slope would be noise.
_SPREAD_RATIO_MIN = 0.15

LEARNED, PROVISIONAL, OBSERVED_MIN, FIXED = "learned", "provisional", "observed-min", "fixed"


class Estimate(NamedTuple):
    """Idle power, how far off it may be, and how it came about (LEARNED, PROVISIONAL, …)."""

    power_uw: int
    doubt_uw: int
    method: str


@dataclass
class Bin:
    """What was seen at one utilisation: sums, so that the means need no rounding."""

    time_ns: int = 0
    energy_uj: int = 0
    busy_ns: int = 0  # CPU time used, over `capacity_ns` available
    capacity_ns: int = 0

    def halve(self) -> None:
        """Let what was seen so far weigh half."""
        self.time_ns //= 2
        self.energy_uj //= 2
        self.busy_ns //= 2
        self.capacity_ns //= 2

    @property
    def power_uw(self) -> float:
        """Mean power."""
        return self.energy_uj * _UW_PER_UJ_NS / self.time_ns

    @property
    def utilisation_ratio(self) -> float:
        """Mean utilisation, 0 to 1."""
        return self.busy_ns / self.capacity_ns


@dataclass
class IdlePower:
    """What was seen of one zone. `least_*`: the window of least power that was also of least utilisation."""

    bins: dict[int, Bin] = field(default_factory=dict)
    least_uw: int = 0
    least_use_ppm: int = -1  # none yet

    def observe(self, energy_uj: int, time_ns: int, busy_ns: int, capacity_ns: int) -> None:
        """Take one window. Windows without extent tell nothing."""
        if time_ns <= 0 or capacity_ns <= 0:
            return
        busy_ns = min(busy_ns, capacity_ns)
        seen = self.bins.setdefault(min(BINS - 1, busy_ns * BINS // capacity_ns), Bin())
        seen.time_ns += time_ns
        seen.energy_uj += energy_uj
        seen.busy_ns += busy_ns
        seen.capacity_ns += capacity_ns
        if seen.time_ns > _BIN_NS_MAX:
            seen.halve()
        power_uw, use_ppm = energy_uj * _UW_PER_UJ_NS // time_ns, busy_ns * 1_000_000 // capacity_ns
        if self.least_use_ppm < 0 or (use_ppm <= self.least_use_ppm and power_uw <= self.least_uw):
            self.least_uw, self.least_use_ppm = power_uw, use_ppm

    def observed_min(self) -> Estimate:
        """As Kepler v0.8 has it: power in the window in which both power and utilisation were least."""
        return Estimate(self.least_uw, self.learned().doubt_uw, OBSERVED_MIN)

    def learned(self) -> Estimate:
        """The envelope's. Never above the lowest mean power seen; 0 while nothing was seen."""
        trusted = [seen for seen in self.bins.values() if seen.time_ns >= _BIN_NS_MIN]
        points = sorted((seen.utilisation_ratio, seen.power_uw) for seen in trusted or self.bins.values())
        if not points:
            return Estimate(0, 0, PROVISIONAL)
        lowest_uw = min(power for _utilisation, power in points)
        if not _tell_slope(points):
            idle_uw = int(lowest_uw * (1 - points[0][0]))
            return Estimate(idle_uw, max(idle_uw, int(lowest_uw) - idle_uw), PROVISIONAL)
        intercept_uw = _intercept(points)
        # How far it would move without either of the two bins that it hangs on.
        others = [[point for point in points if point is not one] for one in (points[0], _second(points))]
        doubts = [abs(_intercept(other) - intercept_uw) for other in others if _tell_slope(other)]
        return Estimate(int(intercept_uw), int(max(doubts, default=intercept_uw)), LEARNED)


def _tell_slope(points: list[tuple[float, float]]) -> bool:
    return points[-1][0] - points[0][0] >= _SPREAD_RATIO_MIN


def _intercept(points: list[tuple[float, float]]) -> float:
    """The first edge of the lower convex hull at utilisation 0, within 0 and the lowest power."""
    (first_x, first_y), (second_x, second_y) = points[0], _second(points)
    slope = (second_y - first_y) / (second_x - first_x)
    return min(max(first_y - slope * first_x, 0.0), *(y for _x, y in points))


def _second(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The second corner of the hull: where the slope from the leftmost bin is least."""
    (first_x, first_y), *rest = points
    return min(rest, key=lambda point: (point[1] - first_y) / (point[0] - first_x))
