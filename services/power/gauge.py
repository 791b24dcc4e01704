# SPDX-License-Identifier: Apache-2.0
"""Energy of a zone whose meter shows power instead of energy. Pure.

Power between two readings is taken as a straight line, so energy is the sum of trapezoids over real time.
"""

from dataclasses import dataclass

from wattline.zone_power import POWER_MARGIN

from .channel import Sample
from .counter import Advance, First, Gap, Refused, Step

# The area of a trapezoid in µJ is (p₀ + p₁) × dt ÷ 2·10⁹, with power in µW and time in ns.
_PARTS_PER_UJ = 2_000_000_000
_UW_PER_W = 1_000_000


@dataclass(frozen=True, slots=True)
class GaugeLimits:
    """`bridge_ns`: the longest pause that a straight line may bridge. `power_max_uw`: as for counters."""

    bridge_ns: int
    power_max_uw: int


@dataclass(slots=True)
class GaugeAccount:
    """One gauge's energy since its epoch. `last` is the reading, in µW, up to which `energy_uj` holds.

    `integration_uj`: how far off that energy may be if power was monotonic between readings: half of each
    step of power, times its duration.
    """

    limits: GaugeLimits
    energy_uj: int = 0
    gaps: int = 0
    last: Sample | None = None
    integration_uj: int = 0
    _parts: int = 0
    _integration_parts: int = 0

    def take(self, reading: Sample) -> Step:
        """Account for a reading of power in µW; return what it was."""
        rated_uw = self.limits.power_max_uw // POWER_MARGIN
        if not 0 <= reading.value <= rated_uw:
            return Refused(
                f"expected power from 0 to {rated_uw // _UW_PER_W} W, the most that such zones are rated, "
                f"got {reading.value / _UW_PER_W:.6g} W"
            )
        last, self.last = self.last, reading
        if last is None:
            return First()
        elapsed_ns = reading.mono_ns - last.mono_ns
        if elapsed_ns <= 0:
            self.last = last
            return Refused("expected a later time than the previous reading's")
        if elapsed_ns > self.limits.bridge_ns:
            self.gaps += 1
            return Gap(
                f"no reading for {elapsed_ns / 1e9:.3g} s, and its power is taken as known for "
                f"{self.limits.bridge_ns / 1e9:.3g} s at most: energy of that time is not counted",
                is_pause=True,
            )
        area = (last.value + reading.value) * elapsed_ns
        energy_uj, self._parts = divmod(self._parts + area, _PARTS_PER_UJ)
        error_parts = self._integration_parts + abs(reading.value - last.value) * elapsed_ns
        error_uj, self._integration_parts = divmod(error_parts, _PARTS_PER_UJ)
        self.energy_uj += energy_uj
        self.integration_uj += error_uj
        return Advance(energy_uj)
