# SPDX-License-Identifier: Apache-2.0
"""The law that a simulated meter follows: energy from time, busy time and noise. Pure, in integers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

UW_NS_PER_UJ = 1_000_000_000
# Without an update period of the counter, noise is constant for so long: ten updates of an Intel RAPL.
NOISE_PERIOD_NS = 10_000_000
_MASK_64 = (1 << 64) - 1


@dataclass(frozen=True)
class Moment:
    """Time since the meter began, and how long each CPU has been busy since then, in ns."""

    elapsed_ns: int
    busy_ns: Mapping[int, int]


@dataclass
class Noise:
    """Power that wavers: uniform between -`noise_uw` and +`noise_uw`, constant within a period.

    The power of a period is known from the seed and the period's number alone.
    """

    noise_uw: int
    seed: int
    period_ns: int
    _period: int = field(default=0, init=False)
    _before_uw_ns: int = field(default=0, init=False)  # of all periods before that one

    def power_uw(self, period: int) -> int:
        """Noise power in one period."""
        return _mixed(self.seed + period * 0x9E3779B97F4A7C15) % (2 * self.noise_uw + 1) - self.noise_uw

    def energy_uw_ns(self, elapsed_ns: int) -> int:
        """Noise energy since the start, in µW · ns. Costs time by the periods since the last call."""
        if not self.noise_uw:
            return 0
        period, within_ns = divmod(elapsed_ns, self.period_ns)
        while self._period < period:
            self._before_uw_ns += self.power_uw(self._period) * self.period_ns
            self._period += 1
        while self._period > period:  # a counter shows the past between two updates
            self._period -= 1
            self._before_uw_ns -= self.power_uw(self._period) * self.period_ns
        return self._before_uw_ns + self.power_uw(period) * within_ns


def _mixed(number: int) -> int:
    """64 bits that look random. Source: splitmix64 (Steele, Lea, Flood: Fast splittable PRNGs, 2014)."""
    number &= _MASK_64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return number ^ (number >> 31)


@dataclass
class Law:
    """Energy = idle power × time + busy power × busy CPU time of the zone's CPUs + noise."""

    idle_uw: int
    busy_uw: int  # per busy CPU
    cpus: frozenset[int]
    noise: Noise

    def __post_init__(self) -> None:
        """Raises ValueError for noise that could make the counter fall."""
        if not 0 <= self.noise.noise_uw <= self.idle_uw:
            raise ValueError(
                f"expected noise from 0 to the idle power of {self.idle_uw} µW, or the counter would fall, "
                f"got {self.noise.noise_uw} µW"
            )

    def busy_ns(self, moment: Moment) -> int:
        """CPU time that the zone has powered."""
        return sum(busy_ns for cpu, busy_ns in moment.busy_ns.items() if cpu in self.cpus)

    def energy_uj(self, moment: Moment) -> int:
        """Energy since the start."""
        energy_uw_ns = self.idle_uw * moment.elapsed_ns + self.busy_uw * self.busy_ns(moment)
        return (energy_uw_ns + self.noise.energy_uw_ns(moment.elapsed_ns)) // UW_NS_PER_UJ
