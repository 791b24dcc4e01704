# SPDX-License-Identifier: Apache-2.0
"""Models of node power from CPU time: what a model file holds, and the formula. Pure.

A zone's power, on the model's own machine, is a polygon over utilisation (CPU time ÷ (CPUs × elapsed)).
Another machine gets its share of it by its number of CPUs. With E the energy, t the elapsed time, n this
machine's CPUs, N the model's, and P(u) the polygon:

    E = P(busy ÷ (n·t)) · t · n ÷ N
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

PACKAGE, DRAM, PLATFORM = "package", "dram", "platform"
ZONES = (PACKAGE, DRAM, PLATFORM)

_PPM = 1_000_000
_UW_NS_PER_UJ = 1_000_000_000  # µW × ns = 10⁻¹⁵ J, a thousand-millionth of a µJ

Natural = Annotated[int, Meta(ge=0)]
Knot = tuple[Natural, Natural]  # utilisation in ppm, power in µW of the whole machine


class Machine(Struct, frozen=True, kw_only=True):
    """What the model was made on."""

    name: str
    cpu_count: Annotated[int, Meta(ge=1)]


class HeldOut(Struct, frozen=True, kw_only=True):
    """Errors on blocks of samples that the fit had not seen."""

    mean_absolute_error_w: Annotated[float, Meta(ge=0)]
    mean_absolute_ratio: Annotated[float, Meta(ge=0)]  # mean of |error| ÷ power


class ZoneModel(Struct, frozen=True, kw_only=True):
    """One zone's polygon and its known error."""

    knots: Annotated[list[Knot], Meta(min_length=2)]
    held_out: HeldOut


class PowerModel(Struct, frozen=True, kw_only=True):
    """What the estimator needs of a model file; the file tells people more."""

    model: str
    machine: Machine
    zones: dict[str, ZoneModel]

    def error_ratio_ppm(self, zone: str) -> int:
        """The zone's known error."""
        return round(self.zones[zone].held_out.mean_absolute_ratio * _PPM)


@dataclass(frozen=True)
class Curve:
    """A polygon with exact arithmetic: energy as a whole number of parts, `parts_per_uj` to a µJ.

    Kept exact, so that many short stretches add up to what one long one gives at the same utilisation.
    """

    knots: Sequence[Knot]
    model_cpu_count: int

    @cached_property
    def parts_per_uj(self) -> int:
        """How finely energy is counted."""
        return self._width * self.model_cpu_count * _UW_NS_PER_UJ

    @cached_property
    def _width(self) -> int:
        return math.lcm(*(right[0] - left[0] for left, right in pairwise(self.knots)))

    def energy_parts(self, busy_ns: int, capacity_ns: int) -> int:
        """Energy while `busy_ns` of `capacity_ns` (CPUs × elapsed) were used; 0 <= busy <= capacity."""
        # The knot at or below the utilisation; at full utilisation, the last but one.
        utilisation_ppm = busy_ns * _PPM // capacity_ns if capacity_ns else 0
        at = min(bisect_right(self.knots, utilisation_ppm, key=lambda knot: knot[0]), len(self.knots) - 1) - 1
        (left_ppm, left_uw), (right_ppm, right_uw) = self.knots[at], self.knots[at + 1]
        beyond = busy_ns * _PPM - left_ppm * capacity_ns
        width_ppm = right_ppm - left_ppm
        return (left_uw * capacity_ns * width_ppm + (right_uw - left_uw) * beyond) * (
            self._width // width_ppm
        )


def decode(data: bytes) -> PowerModel:
    """A model file's content. Raises ValueError for one that can't be a model of power."""
    try:
        model = msgspec.json.decode(data, type=PowerModel)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a power model: {error}") from None
    if set(model.zones) != set(ZONES):
        raise ValueError(f"expected the zones {', '.join(ZONES)}, got {', '.join(model.zones)}")
    for name, zone in model.zones.items():
        utilisations_ppm, powers_uw = zip(*zone.knots, strict=True)
        if (utilisations_ppm[0], utilisations_ppm[-1]) != (0, _PPM) or not _rises(utilisations_ppm):
            raise ValueError(f"{name}: expected utilisations rising from 0 to {_PPM} ppm: {utilisations_ppm}")
        if list(powers_uw) != sorted(powers_uw):
            raise ValueError(f"{name}: expected power that never falls with utilisation, got {powers_uw} µW")
    _check_consistent(model)
    return model


def _rises(values: Sequence[int]) -> bool:
    return all(left < right for left, right in pairwise(values))


def _check_consistent(model: PowerModel) -> None:
    """Platform holds package and dram. If at all knots, then everywhere: in between all is straight."""
    curves = {name: Curve(zone.knots, 1) for name, zone in model.zones.items()}
    for at_ppm in sorted({knot[0] for zone in model.zones.values() for knot in zone.knots}):
        package, dram, platform = (
            Fraction(curves[name].energy_parts(at_ppm, _PPM), curves[name].parts_per_uj) for name in ZONES
        )
        if platform < package + dram:
            raise ValueError(
                f"at {at_ppm} ppm utilisation: expected platform at least package + dram, "
                f"got {float(platform)} below {float(package)} + {float(dram)}"
            )
