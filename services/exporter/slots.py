# SPDX-License-Identifier: Apache-2.0
"""Metrics of slots (zone and index): owners, spares, takeovers, integration error. Pure.

Frames of older calculators have none of it, and get no series.
"""

from collections.abc import Iterator

from wattline.wire.frames import Energy

from .exposition import Family, Rows, label_text
from .gauges import gauge
from .zones import zone_labels

OWNER, FORMER, SPARE = "owner", "former owner", "spare"
_JOULE_DECIMALS = 6  # from µJ


def families(energy: Energy) -> Iterator[Family]:
    """The families that a frame has something for."""
    zones = energy.zones
    series = [label_text(labels) for labels in zone_labels(zones)]
    if zones.is_owner:
        rows = standings(energy)
        yield gauge(
            "wattline_zone_owner",
            "1 if the source's readings of the zone are counted, 0 if it is a spare, or was counted before; "
            "rank is its place in the order of sources, 0 first.",
            [
                label_text({"zone": zone, "index": index, "source": source, "stream": stream, "rank": rank})
                for zone, index, source, stream, rank, _role in rows
            ],
            [int(role == OWNER) for *_row, role in rows],
        )
    if zones.takeovers:
        yield Family(
            "wattline_zone_takeovers_total",
            "counter",
            "Times that the source's series began, or went on, where that of another source ended.",
            [Rows(series).block([zones.takeovers])],
        )
    if zones.integration_uj:
        yield gauge(
            "wattline_zone_integration_error_joules",
            "How far in joules the zone's energy may be off, since its meter shows power and only at times; "
            "0 for a meter that counts energy.",
            series,
            zones.integration_uj,
            _JOULE_DECIMALS,
        )


def standings(energy: Energy) -> list[tuple[str, str, str, str, str, str]]:
    """(zone, index, source, stream, rank, role) of each source of each slot, in the order of the books."""
    zones, spares = energy.zones, energy.spares
    streams, ranks = zones.stream or [""] * len(zones), zones.rank or [0] * len(zones)
    spare_rows = list(zip(spares.zone, spares.index, spares.source, spares.stream, spares.rank, strict=True))
    # A former owner may be a spare again.
    known_spares = {row[:4] for row in spare_rows}
    found = []
    for *row, rank, is_owner in zip(
        zones.zone, zones.index, zones.source, streams, ranks, zones.is_owner, strict=True
    ):
        zone, index, source, stream = row
        if is_owner or (zone, index, source, stream) not in known_spares:
            found.append((zone, index, source, stream, str(rank), OWNER if is_owner else FORMER))
    return found + [(*row[:4], str(row[4]), SPARE) for row in spare_rows]
