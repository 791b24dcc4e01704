# SPDX-License-Identifier: Apache-2.0
"""The most power that a zone can plausibly draw, and so the most energy that a reading can add. Pure."""

# At least this times what the largest are rated. It bounds which readings are accepted and, with a counter's
# range, how long a pause can be bridged.
POWER_MARGIN = 2
POWER_MAX_W = {
    "package": 1000,  # one socket: 500 W (Intel Xeon 6980P, AMD EPYC 9965 datasheets)
    "core": 1000,  # within package
    "uncore": 1000,  # within package; holds a graphics unit
    "dram": 500,  # one socket's: 24 DDR5 modules of 10 W
    "gpu": 3000,  # one module: the largest are rated at about 1.4 kW
    "psys": 4000,  # a computer: two power supplies of 1 kW
}
NODE_POWER_MAX_W = 40_000  # the whole machine: with eight such GPUs it draws some 15 kW

# Meters renew their registers about once a millisecond (Intel SDM volume 3B, "RAPL Interfaces"), so a short
# stretch may hold the energy of one renewal more. Ten times that, for slower zones and for a reader that was
# interrupted between the clock and the meter.
RENEWAL_NS_MAX = 10_000_000

_UW_PER_W = 1_000_000
_UW_NS_PER_UJ = 1_000_000_000  # µW × ns = 10⁻¹⁵ J, a thousand-millionth of a µJ


def power_max_uw(zone: str, *, is_measured: bool) -> int:
    """The limit of a zone by its name; an estimated or unknown zone may be the whole machine."""
    watts = POWER_MAX_W.get(zone, NODE_POWER_MAX_W) if is_measured else NODE_POWER_MAX_W
    return watts * _UW_PER_W


def energy_max_uj(power_max_uw: int, elapsed_ns: int) -> int:
    """The most energy between two readings of a meter."""
    return power_max_uw * (max(0, elapsed_ns) + RENEWAL_NS_MAX) // _UW_NS_PER_UJ
