# SPDX-License-Identifier: Apache-2.0
"""The absent zones of all power streams, as one table. Pure."""

from collections.abc import Mapping
from itertools import islice

from wattline.wire.frames import ZONES_MAX, AbsentZones


def union(tables: Mapping[str, AbsentZones]) -> AbsentZones:
    """The rows of all streams, each once, in the order of the streams; as many as a frame may have."""
    rows = dict.fromkeys(
        row
        for _stream, table in sorted(tables.items())
        for row in zip(table.source, table.zone, table.index, table.why, table.reason, strict=True)
    )
    kept = list(islice(rows, ZONES_MAX))
    return AbsentZones(
        source=[row[0] for row in kept],
        zone=[row[1] for row in kept],
        index=[row[2] for row in kept],
        why=[row[3] for row in kept],
        reason=[row[4] for row in kept],
    )
