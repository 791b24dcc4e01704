# SPDX-License-Identifier: Apache-2.0
"""What must hold in every scrape, told from the metrics alone."""

from collections import defaultdict
from decimal import Decimal

from .metrics import Series

ZONES = ("package", "core", "uncore", "dram", "other", "gpu", "platform")


def check_books(series: list[Series]) -> None:
    """Node = Σ containers + unattributed + awaiting names, container = Σ processes + departed, to the µJ.

    What awaits a name is what the other containers' processes and departed ones hold. And system_processes =
    Σ units, where there are any.
    """
    sums = _sums(series)
    zones = [key[1] for key in sums if key[0] == "node" and len(key) == 2]
    assert zones
    for zone in zones:
        parts = {name: sums[name, zone] for name in ("container", "unattributed", "awaiting")}
        assert sums["node", zone] == sum(parts.values()), (zone, sums["node", zone], parts)
        assert sums["process", zone] == sums["container", zone] + sums["awaiting", zone], (zone, parts)
    for level, zone, *container in list(sums):
        if level == "container" and container:
            whole, parts = sums["container", zone, container[0]], sums["process", zone, container[0]]
            assert whole == parts, (zone, container)
    _check_units(sums)


def left_over_ratio(series: list[Series], zone: str) -> float:
    """The part of a zone's energy that is unattributed for another reason than that it is idle energy."""
    node = sum(one.value for one in series if one.name == f"kepler_node_{zone}_joules_total")
    left = sum(
        one.value
        for one in series
        if one.name == "wattline_unattributed_joules_total"
        and one.labels["zone"] == zone
        and one.labels["reason"] not in ("idle_policy", "no_requests")
    )
    return float(left / node)


def _sums(series: list[Series]) -> dict[tuple[str, ...], Decimal]:
    """By (level, zone), and of containers and processes also by (level, zone, container id)."""
    sums: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for one in series:
        level, _, rest = one.name.removeprefix("kepler_").partition("_")
        zone = rest.removesuffix("_joules_total")
        if one.name.startswith("kepler_") and zone in ZONES:
            sums[level, zone] += one.value
            if level in ("container", "process"):
                sums[level, zone, one.labels["container_id"]] += one.value
        elif one.name == "wattline_unattributed_joules_total":
            sums["unattributed", one.labels["zone"]] += one.value
        elif one.name == "wattline_awaiting_names_joules" and one.labels["level"] == "container":
            sums["awaiting", one.labels["zone"]] += one.value
        elif one.name == "wattline_container_departed_joules_total":
            sums["process", one.labels["zone"]] += one.value
            sums["process", one.labels["zone"], one.labels["container_id"]] += one.value
        elif one.name == "wattline_unit_joules_total":
            sums["unit", one.labels["zone"]] += one.value
    return sums


def _check_units(sums: dict[tuple[str, ...], Decimal]) -> None:
    for zone in [key[1] for key in sums if key[0] == "unit"]:
        assert sums["container", zone, "system_processes"] == sums["unit", zone], zone
