# SPDX-License-Identifier: Apache-2.0
"""From numbers in JSON to energy in µJ and power in µW. Pure."""

from decimal import Decimal

# DMTF schemas give power in watts, energy in kilowatt-hours or joules.
UW_PER_W = 1_000_000
UJ_PER_J = 1_000_000
UJ_PER_KWH = 3_600_000_000_000

# A counter is fine if each of its steps is at most this: a kWh figure with 3 decimals. A node of 120 W fills
# such a step in 30 s, the default period. With 2 decimals it takes five minutes, with 1 decimal 50.
FINE_STEP_UJ = UJ_PER_KWH // 1000

_VALUE_MAX = Decimal(10) ** 15  # of any figure, so that no exponent can make an endless integer
_ENERGY_UJ_MAX = 2**62  # as for all meters (services/power/source.py)
_GOT_CHARACTERS_MAX = 40


def number(value: object, where: str) -> Decimal:
    """A figure of a resource. `where`: its place, for the message.

    Raises ValueError for all but numbers of 0 or more: absence is not zero, and text is no number.
    """
    if value is None:
        raise ValueError(f"{where}: expected a number, got null: the BMC has no reading")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        got = f"{value!r:.{_GOT_CHARACTERS_MAX}}"
        raise ValueError(f"{where}: expected a number, got {got}")  # noqa: TRY004 the type is the BMC's
    exact = Decimal(value)
    if not 0 <= exact <= _VALUE_MAX:
        raise ValueError(
            f"{where}: expected a number from 0 to 10^15, got {str(value)[:_GOT_CHARACTERS_MAX]}"
        )
    return exact


def power_uw(watts: Decimal) -> int:
    """Watts as whole µW."""
    return int((watts * UW_PER_W).to_integral_value())


def energy_uj(amount: Decimal, unit_uj: int, where: str) -> int:
    """An amount of `unit_uj` each as whole µJ. Raises ValueError if that is more than any meter counts."""
    energy = int((amount * unit_uj).to_integral_value())
    if energy > _ENERGY_UJ_MAX:
        raise ValueError(f"{where}: expected less than 2^62 µJ, got {amount:.6g} × {unit_uj} µJ")
    return energy


def decimals(value: Decimal) -> int:
    """How many decimals a figure was written with."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def step_uj(unit_uj: int, places: int) -> int:
    """The step of a counter that shows so many decimals of its unit; at least 1 µJ."""
    parts: int = 10 ** min(places, 15)
    return max(1, unit_uj // parts)
