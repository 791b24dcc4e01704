# SPDX-License-Identifier: Apache-2.0
"""Idle power of one zone, learned from utilisation and power. Pure; formula 3 in docs/attribution.md.

Power is averaged in bins of utilisation. The lower convex hull of the bins is the envelope under which the
zone has not been seen; its leftmost edge, extended to utilisation 0, gives the idle power. With too little
spread of utilisation to tell a slope, the part 1 - utilisation of the lowest power seen is taken as idle:
right when idle, and never all of it when busy.
"""

from dataclasses import dataclass, field

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
    """The learned idle power of one zone."""

    bins: dict[int, Bin] = field(default_factory=dict)

    def observe(self, energy_uj: int, time_ns: int, busy_ns: int, capacity_ns: int) -> None:
        """Take one window. Windows without extent tell nothing."""
        if time_ns <= 0 or capacity_ns <= 0:
            return
        number = min(BINS - 1, busy_ns * BINS // capacity_ns)
        seen = self.bins.setdefault(number, Bin())
        seen.time_ns += time_ns
        seen.energy_uj += energy_uj
        seen.busy_ns += min(busy_ns, capacity_ns)
        seen.capacity_ns += capacity_ns
        if seen.time_ns > _BIN_NS_MAX:
            seen.halve()

    @property
    def power_uw(self) -> int:
        """Idle power; 0 while nothing was seen. Never above the lowest mean power seen."""
        trusted = [seen for seen in self.bins.values() if seen.time_ns >= _BIN_NS_MIN]
        points = sorted((seen.utilisation_ratio, seen.power_uw) for seen in trusted or self.bins.values())
        if not points:
            return 0
        lowest_uw = min(power for _utilisation, power in points)
        if points[-1][0] - points[0][0] < _SPREAD_RATIO_MIN:
            return int(lowest_uw * (1 - points[0][0]))
        (utilisation, power), slope = points[0], _leftmost_slope(points)
        return int(min(max(power - slope * utilisation, 0.0), lowest_uw))


def _leftmost_slope(points: list[tuple[float, float]]) -> float:
    """Slope of the first edge of the lower convex hull: the least slope from the leftmost point."""
    (first_x, first_y), *rest = points
    return min((y - first_y) / (x - first_x) for x, y in rest)
