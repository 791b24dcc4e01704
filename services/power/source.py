# SPDX-License-Identifier: Apache-2.0
"""What a source of energy readings is, and what passes between it and the loop. Pure."""

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, Self

from wattline.wire.columns import U32, U64
from wattline.wire.frames import ZONES_MAX, AbsentZones, Activity, Power, PowerZones, SourceState

# No meter gets there by counting: 2⁶² µJ last a node of 1 kW for 146 years. From beyond, a counter would soon
# no longer fit into its column, and no frame could be published any more.
_ENERGY_UJ_MAX, _GAPS_MAX = 2**62, 2**31

MEASURED = "measured"
ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, order=True)
class Zone:
    """What is metered, by what. Two sources of one zone are two zones."""

    name: str
    index: str
    source: str
    provenance: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.index}"

    @property
    def slot(self) -> tuple[str, str]:
        """What it has in common with the same zone of other sources."""
        return self.name, self.index


@dataclass(frozen=True, slots=True)
class ZoneEnergy:
    """A zone's energy since its epoch, up to its reading at `mono_ns`. A row of PowerZones.

    `rank`: the place of its source in the order of preference, 0 first. `period_ns`: how often a new reading
    is to be expected, 0 for at each tick. `integration_uj`: see gauge.py.
    """

    zone: Zone
    epoch: int
    mono_ns: int
    energy_uj: int
    raw: int
    raw_range: int = 0
    raw_epoch: int = 0
    gaps: int = 0
    error_ratio_ppm: int = 0
    rank: int = 0
    period_ns: int = 0
    integration_uj: int = 0


@dataclass(frozen=True, slots=True)
class Absent:
    """A zone without a new row although its meter is there. A row of AbsentZones."""

    source: str
    zone: str
    index: str
    why: str
    reason: str


class Level(Enum):
    """How a note is logged."""

    INFO = "info"  # a change of state, or what follows from a stop that somebody wanted
    WARNING = "warning"
    COUNTED = "counted"  # a warning that `status` counts as an error


@dataclass(frozen=True, slots=True)
class Note:
    """A log event: name, stable cause (used to suppress repeats), fields."""

    event: str
    cause: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    level: Level = Level.COUNTED


@dataclass(frozen=True, slots=True)
class Readings:
    """One reading of a source. A zone that could not be read has no row, or its last one again.

    `nothing_found`: this machine simply has no such meter. Then the source isn't shown.
    """

    rows: Sequence[ZoneEnergy]
    state: SourceState
    notes: Sequence[Note] = ()
    absent: Sequence[Absent] = ()
    nothing_found: bool = False


class Source(Protocol):
    """A meter, or a model that stands in for one."""

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted and it waits for."""

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""

    @property
    def follows_activity(self) -> bool:
        """True if it has something new when activity comes, rather than at any time."""

    def on_activity(self, activity: Activity) -> None:
        """Take what the node did; a meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Return every zone's energy, each up to the time of its own reading."""

    def begin_again(self) -> None:
        """End all series: another source takes over. Zones read later begin at 0 in a new epoch."""

    def close(self) -> None:
        """Release everything."""


@dataclass(frozen=True)
class Former:
    """What this service published last, on this boot: what a new run goes on from.

    `until_ns`: up to when a series has covered energy that no other one may cover.
    """

    epoch: int = 0
    rows: Mapping[Zone, ZoneEnergy] = field(default_factory=dict)
    unix_minus_mono_ns: int = 0
    until_ns: int = 0

    def waiting(self, source: str, known: Container[Zone]) -> list[ZoneEnergy]:
        """The rows of a source's zones that this run doesn't know yet."""
        return [row for zone, row in self.rows.items() if zone.source == source and zone not in known]

    @classmethod
    def of(cls, frame: Power | None) -> Self:
        """From the last frame, if there is one that leaves room to count on."""
        if frame is None:
            return cls()
        rows = {row.zone: row for row in rows_of(frame)}
        until_ns = max((row.mono_ns for row in rows.values()), default=0)
        if any(row.energy_uj > _ENERGY_UJ_MAX or row.gaps > _GAPS_MAX for row in rows.values()):
            return cls(until_ns=until_ns)
        return cls(frame.epoch, rows, frame.unix_ns - frame.mono_ns, until_ns)


def unknown(unreadable: Sequence[Absent]) -> str:
    """Why discovery is incomplete: a meter is there whose zone can't be read. Empty if it is complete.

    Then a known zone that wasn't found may be that one, and must not be taken for gone.
    """
    return next((one.reason for one in unreadable if not one.zone), "")


def utc(unix_ns: int) -> str:
    """The time of day, to the second, as log lines have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_ns // 1_000_000_000))


def table(rows: Sequence[ZoneEnergy], epoch: int) -> PowerZones:
    """The wire's table, in canonical order: zone, index, source. `epoch`: the frame's."""
    rows = sorted(rows, key=lambda row: row.zone)
    own = [row.epoch for row in rows if row.epoch != epoch]
    return PowerZones(
        zone=[row.zone.name for row in rows],
        index=[row.zone.index for row in rows],
        source=[row.zone.source for row in rows],
        provenance=[row.zone.provenance for row in rows],
        model=[row.zone.model for row in rows],
        error_ratio_ppm=U32(row.error_ratio_ppm for row in rows),
        mono_ns=U64(row.mono_ns for row in rows),
        energy_uj=U64(row.energy_uj for row in rows),
        raw=U64(row.raw for row in rows),
        raw_range=U64(row.raw_range for row in rows),
        raw_epoch=U64(row.raw_epoch for row in rows),
        gaps=U32(row.gaps for row in rows),
        epoch=U64(row.epoch for row in rows) if own else U64(),
        rank=U32(row.rank for row in rows) if any(row.rank for row in rows) else U32(),
        period_ns=U64(row.period_ns for row in rows) if any(row.period_ns for row in rows) else U64(),
        integration_uj=(
            U64(row.integration_uj for row in rows) if any(row.integration_uj for row in rows) else U64()
        ),
    )


def absent_table(absent: Sequence[Absent]) -> AbsentZones:
    """The wire's table; only as many rows as a frame may have."""
    absent = absent[:ZONES_MAX]
    return AbsentZones(
        source=[one.source for one in absent],
        zone=[one.zone for one in absent],
        index=[one.index for one in absent],
        why=[one.why for one in absent],
        reason=[one.reason for one in absent],
    )


def rows_of(frame: Power) -> list[ZoneEnergy]:
    """The rows of a frame's zones."""
    zones, epochs = frame.zones, frame.zone_epochs()
    none = [0] * len(zones)
    ranks, periods_ns = zones.rank or none, zones.period_ns or none
    integration_uj = zones.integration_uj or none
    return [
        ZoneEnergy(
            zone=Zone(
                zones.zone[row], zones.index[row], zones.source[row], zones.provenance[row], zones.model[row]
            ),
            epoch=epochs[row],
            mono_ns=zones.mono_ns[row],
            energy_uj=zones.energy_uj[row],
            raw=zones.raw[row],
            raw_range=zones.raw_range[row],
            raw_epoch=zones.raw_epoch[row],
            gaps=zones.gaps[row],
            error_ratio_ppm=zones.error_ratio_ppm[row],
            rank=ranks[row],
            period_ns=periods_ns[row],
            integration_uj=integration_uj[row],
        )
        for row in range(len(zones))
    ]
