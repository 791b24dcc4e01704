# SPDX-License-Identifier: Apache-2.0
"""How the books are kept: what the settings choose. Pure."""

from dataclasses import dataclass, field

from wattline.settings import nearest

from .idle import LEARNED, OBSERVED_MIN

NODE, EVEN, USAGE, REQUESTS = "node", "even", "usage", "requests"
RATIO, MODEL = "ratio", "model"
_ZONES = ("package", "core", "uncore", "dram", "gpu", "psys", "platform", "other")


@dataclass(frozen=True)
class Rules:
    """Who is given idle energy, where idle power comes from, and what dynamic energy is shared by.

    `fixed_idle_uw`: idle power by zone name, or by "zone-index" for one of several; it goes before
    `idle_power`.
    """

    idle_policy: str = NODE
    idle_power: str = LEARNED
    method: str = RATIO
    terminated_keep_ns: int = 300_000_000_000
    fixed_idle_uw: dict[str, int] = field(default_factory=dict)

    def fixed_uw(self, zone: str, index: str) -> int | None:
        """The idle power that was set for a zone, if one was."""
        return self.fixed_idle_uw.get(f"{zone}-{index}", self.fixed_idle_uw.get(zone))


def parse_idle_power(text: str) -> tuple[str, dict[str, int]]:
    """The setting: `learned`, `observed-min`, or watts by zone as `package=12.5,dram-1=3`.

    Returns (method for zones that aren't named, µW by name). Raises ValueError naming what is wrong.
    """
    if text in (LEARNED, OBSERVED_MIN):
        return text, {}
    fixed_uw: dict[str, int] = {}
    method = LEARNED
    for part in text.split(","):
        name, equals, watts = part.strip().partition("=")
        if part.strip() in (LEARNED, OBSERVED_MIN):
            method = part.strip()
            continue
        try:
            power_uw = round(float(watts) * 1e6)
        except (ValueError, OverflowError):
            power_uw = -1
        if not (name and equals and 0 <= power_uw < 2**50):
            hint = "" if equals else nearest(name, (LEARNED, OBSERVED_MIN))
            raise ValueError(f"{part.strip()!r} is neither a method nor ZONE=WATTS{hint}")
        if name.partition("-")[0] not in _ZONES:
            raise ValueError(
                f"there is no zone {name!r}, only {', '.join(_ZONES)}, each alone or with its index as in "
                f"package-1{nearest(name, _ZONES)}"
            )
        fixed_uw[name] = power_uw
    return method, fixed_uw
