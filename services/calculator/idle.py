# SPDX-License-Identifier: Apache-2.0
"""Idle power of one zone, learned from utilisation and power. Pure; formula 3 in docs/attribution.md.

Power is averaged in bins of utilisation. A line is laid along the lower side of the bins, those of least
utilisation weighing most; where it meets utilisation 0 is the idle power. With too little spread of
utilisation to tell a slope, the part 1 - utilisation of the lowest power seen is taken as idle: right when
idle, and never all of it when busy.
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
# A bin above the line weighs this part of what one below it does: work that costs more than other work at the
# same utilisation must not lift the line.
_ABOVE_WEIGHT_RATIO = 1 / 3
# How far from the leftmost bin, in utilisation, a bin weighs a quarter of what it weighs there: power need
# not be linear, and what is near to idle says most.
_NEAR_RATIO = 0.3
_ROUNDS = 8  # the weights have settled by then
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
        self.capacity_ns = max(1, self.capacity_ns // 2)

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
    _learned: Estimate | None = None  # since the last window

    def observe(self, energy_uj: int, time_ns: int, busy_ns: int, capacity_ns: int) -> None:
        """Take one window. Windows without extent tell nothing."""
        if time_ns <= 0 or capacity_ns <= 0:
            return
        self._learned = None
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
        if self._learned is None:
            trusted = [seen for seen in self.bins.values() if seen.time_ns >= _BIN_NS_MIN]
            self._learned = estimate(trusted or list(self.bins.values()))
        return self._learned


def estimate(bins: list[Bin]) -> Estimate:
    """Idle power from what was seen."""
    bins = sorted(bins, key=lambda seen: seen.utilisation_ratio)
    if not bins:
        return Estimate(0, 0, PROVISIONAL)
    lowest_uw = min(seen.power_uw for seen in bins)
    first_ratio = bins[0].utilisation_ratio
    if bins[-1].utilisation_ratio - first_ratio < _SPREAD_RATIO_MIN:
        idle_uw = int(lowest_uw * (1 - first_ratio))
        return Estimate(idle_uw, max(idle_uw, int(lowest_uw) - idle_uw), PROVISIONAL)
    points = [
        _Point(
            seen.utilisation_ratio,
            seen.power_uw,
            seen.time_ns / (1 + (seen.utilisation_ratio - first_ratio) / _NEAR_RATIO) ** 2,
        )
        for seen in bins
    ]
    intercept_uw, error_uw = _lower_line(points)
    learned_uw = min(max(intercept_uw, 0.0), lowest_uw)
    # Below the least utilisation seen the line is a guess: power may bend there by as much again.
    doubt_uw = error_uw + lowest_uw - learned_uw
    return Estimate(int(learned_uw), int(min(doubt_uw, lowest_uw)), LEARNED)


class _Point(NamedTuple):
    x: float
    y: float
    weight: float


def _lower_line(points: list[_Point]) -> tuple[float, float]:
    """(where it meets x = 0, two standard errors of that) of the line by asymmetric least squares.

    Source: Newey and Powell, "Asymmetric Least Squares Estimation and Testing" (1987): expectiles.
    """
    weights = [point.weight for point in points]
    at_zero = slope = 0.0
    for _round in range(_ROUNDS):
        whole = sum(weights)
        mean_x = sum(w * point.x for w, point in zip(weights, points, strict=True)) / whole
        mean_y = sum(w * point.y for w, point in zip(weights, points, strict=True)) / whole
        spread = sum(w * (point.x - mean_x) ** 2 for w, point in zip(weights, points, strict=True))
        slope = (
            sum(w * (point.x - mean_x) * (point.y - mean_y) for w, point in zip(weights, points, strict=True))
            / spread
        )
        at_zero = mean_y - slope * mean_x
        misses = [point.y - at_zero - slope * point.x for point in points]
        weights = [
            point.weight * (_ABOVE_WEIGHT_RATIO if miss > 0 else 1.0)
            for point, miss in zip(points, misses, strict=True)
        ]
    whole = sum(weights)
    freedom = whole**2 / sum(w**2 for w in weights) - 2  # as if of so many equal points
    if len(points) == 2 or freedom <= 0:  # noqa: PLR2004 a line through two points
        return at_zero, abs(mean_x * slope)
    variance = sum(w * miss**2 for w, miss in zip(weights, misses, strict=True)) / whole / freedom
    return at_zero, 2 * (variance * (1 + mean_x**2 * whole / spread)) ** 0.5
