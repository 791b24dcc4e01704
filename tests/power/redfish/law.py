# SPDX-License-Identifier: Apache-2.0
"""A law of power whose energy is known exactly."""

from dataclasses import dataclass

S = 1_000_000_000


@dataclass
class Law:
    """Power that goes up and down in straight lines, from `low_uw` to `low_uw + swing_uw` in `half_ns`."""

    low_uw: int = 200_000_000
    swing_uw: int = 0
    half_ns: int = 60 * S

    def power_uw(self, mono_ns: int) -> int:
        """At an instant."""
        way = mono_ns % (2 * self.half_ns)
        return self.low_uw + self.swing_uw * min(way, 2 * self.half_ns - way) // self.half_ns

    def energy_uj(self, mono_ns: int) -> int:
        """Since the clock's 0, exactly but for rounding."""
        turns, way = divmod(mono_ns, 2 * self.half_ns)
        back = 2 * self.half_ns - way
        # Twice the area under the triangle, in ns², over 2 × half_ns.
        twice = way**2 if way <= self.half_ns else 2 * self.half_ns**2 - back**2
        whole = turns * 2 * self.half_ns**2
        return (self.low_uw * mono_ns + self.swing_uw * (whole + twice) // (2 * self.half_ns)) // S
