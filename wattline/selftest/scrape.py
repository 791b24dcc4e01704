# SPDX-License-Identifier: Apache-2.0
"""A scrape as numbers, without rounding, and the few of them that the self-test asks for. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

_LINE = re.compile(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_0-9]+)="((?:[^"\\]|\\.)*)"')
_JOULES = re.compile(r"kepler_(node|container)_(package|core|uncore|dram|gpu|platform|other)_joules_total")
_UJ_PER_J = 1_000_000


class Series(NamedTuple):
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: Decimal


def read(text: bytes) -> list[Series]:
    """Every line must be one; label values stay escaped as they are. Raises ValueError."""
    series = []
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"expected a series, got {line!r:.200}")
            series.append(Series(match[1], dict(_LABEL.findall(match[2] or "")), Decimal(match[3])))
    return series


def total_uj(series: Iterable[Series], name: str, **labels: str) -> int:
    """Sum of the series with these labels, whatever others they have."""
    values = (one.value for one in series if one.name == name and labels.items() <= one.labels.items())
    return int(_UJ_PER_J * sum(values, Decimal()))


def residuals_uj(series: Iterable[Series]) -> dict[str, int]:
    """Node - Σ containers - unattributed - what awaits a name, by zone: 0 where the books close."""
    left: dict[str, Decimal] = defaultdict(Decimal)
    for one in series:
        if match := _JOULES.fullmatch(one.name):
            left[match[2]] += one.value if match[1] == "node" else -one.value
        elif one.name == "wattline_unattributed_joules_total" or _awaits(one):
            left[one.labels["zone"]] -= one.value
    return {zone: int(value * _UJ_PER_J) for zone, value in left.items()}


def _awaits(one: Series) -> bool:
    return one.name == "wattline_awaiting_names_joules" and one.labels["level"] == "container"


def gauges(series: Iterable[Series], name: str) -> dict[str, float]:
    """A gauge by zone. Raises ValueError if a zone has several: the simulated machine has one socket."""
    found: dict[str, float] = {}
    for one in series:
        if one.name == name:
            if one.labels["zone"] in found:
                raise ValueError(f"expected one {name} of zone {one.labels['zone']}")
            found[one.labels["zone"]] = float(one.value)
    return found


def watermark_unix_s(series: Sequence[Series]) -> float:
    """Up to when all zones are attributed; 0 if there is no zone yet."""
    return min(gauges(series, "wattline_zone_watermark_timestamp_seconds").values(), default=0.0)
