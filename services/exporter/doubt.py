# SPDX-License-Identifier: Apache-2.0
"""How far the books can be trusted, and what they were made by. Pure.

Older calculators say none of it: then there is no series, rather than a 0 that would mean no doubt.
"""

from collections.abc import Iterator, Sequence

from wattline.wire.frames import Energy

from .exposition import Family, label_text
from .gauges import gauge, info, known
from .zones import zone_labels

_MICRO_DECIMALS = 6  # from µJ, µW or parts per million
_SECOND_DECIMALS = 9  # from ns


def families(energy: Energy) -> Iterator[Family]:
    """All that this frame says of it."""
    zones = energy.zones
    labels = zone_labels(zones)
    series = [label_text(zone) for zone in labels]

    def said(values: Sequence[int]) -> tuple[Sequence[str], Sequence[int]]:
        """A column with its series; neither if it was left out."""
        return (series, values) if values else ((), ())

    nothing = [""] * len(zones)
    ways = zip(zones.share_by or nothing, zones.idle_method or nothing, strict=True)
    yield info(
        "wattline_zone_share_info",
        "its labels say what the zone's dynamic energy is shared by, and how its idle power came about.",
        [
            label_text({**zone, "share_by": share_by, "idle_method": idle_method})
            for zone, (share_by, idle_method) in zip(labels, ways, strict=True)
            if share_by or idle_method
        ],
    )
    yield gauge(
        "wattline_zone_model_error_ratio",
        "How far the learned model that the zone's dynamic energy is shared by was off lately, as a ratio of "
        "that energy; absent without a model.",
        *known(series, zones.model_error_ratio_ppm),
        _MICRO_DECIMALS,
    )
    # Where idle power is not known either, a doubt of 0 is none that anybody had.
    doubts = [row for row, doubt in enumerate(zones.idle_doubt_uw) if doubt or zones.idle_power_uw[row]]
    yield gauge(
        "wattline_zone_idle_doubt_watts",
        "How far in watts the zone's idle power may be off; absent while that is not known.",
        [series[row] for row in doubts],
        [zones.idle_doubt_uw[row] for row in doubts],
        _MICRO_DECIMALS,
    )
    yield gauge(
        "wattline_zone_interpolation_joules",
        "The most by which the zone's energy up to its watermark may be off in joules, since its meter was "
        "not read exactly then. It does not add up over time.",
        *said(zones.interpolation_uj),
        _MICRO_DECIMALS,
    )
    yield gauge(
        "wattline_zone_join_skew_seconds",
        "Time in seconds between the zone's watermark and the nearest reading of its meter.",
        *said(zones.join_skew_ns),
        _SECOND_DECIMALS,
    )
    others = [row for row, zone in enumerate(zones.zone) if zone == "other" and zones.disagreement_uj]
    yield gauge(
        "wattline_meter_disagreement_joules",
        "Energy in joules that the meters of a platform's parts have counted beyond what its own has.",
        [series[row] for row in others],
        [zones.disagreement_uj[row] for row in others],
        _MICRO_DECIMALS,
    )
    yield gauge(
        "wattline_activity_skew_seconds",
        "The instants in seconds at which the use of processes was read lie within this time.",
        *known([""], [energy.activity_skew_ns]),
        _SECOND_DECIMALS,
    )
