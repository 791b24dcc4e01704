# SPDX-License-Identifier: Apache-2.0
"""What a source of energy readings is, and what passes between it and the loop. Pure."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from wattline.wire.columns import U32, U64
from wattline.wire.frames import Activity, Power, PowerZones, SourceState

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


@dataclass(frozen=True, slots=True)
class ZoneEnergy:
    """A zone's energy since the epoch, up to its reading at `mono_ns`. A row of PowerZones."""

    zone: Zone
    mono_ns: int
    energy_uj: int
    raw: int
    raw_range: int = 0
    raw_epoch: int = 0
    gaps: int = 0
    error_ratio_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """A log event: name, stable cause (used to suppress repeats), fields.

    `is_planned`: it follows from a stop and a start that somebody wanted, so it is no error.
    """

    event: str
    cause: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_planned: bool = False


@dataclass(frozen=True, slots=True)
class Readings:
    """What a source has to say at a tick. A zone that could not be read has no row."""

    rows: Sequence[ZoneEnergy]
    state: SourceState
    notes: Sequence[Note] = ()


class Source(Protocol):
    """A meter, or a model that stands in for one."""

    @property
    def zones(self) -> Sequence[Zone]:
        """What it may give in this run."""

    @property
    def resumed(self) -> bool:
        """Whether it goes on from the former rows of all its zones."""

    @property
    def follows_activity(self) -> bool:
        """Whether it has something new to tell when activity comes, rather than at any time."""

    @property
    def notes(self) -> Sequence[Note]:
        """What people should know from the start."""

    def on_activity(self, activity: Activity) -> None:
        """Take what the node did; a meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Every zone's energy, each up to the time of its own reading."""

    def close(self) -> None:
        """Release everything."""


@dataclass(frozen=True)
class Former:
    """What this service published last, on this boot: what a new run goes on from."""

    epoch: int = 0
    rows: Mapping[Zone, ZoneEnergy] = field(default_factory=dict)
    unix_minus_mono_ns: int = 0

    @classmethod
    def of(cls, frame: Power | None) -> Self:
        """From the last frame, if there is one that leaves room to count on."""
        if frame is None:
            return cls()
        rows = {row.zone: row for row in rows_of(frame.zones)}
        if any(row.energy_uj > _ENERGY_UJ_MAX or row.gaps > _GAPS_MAX for row in rows.values()):
            return cls()
        return cls(frame.epoch, rows, frame.unix_ns - frame.mono_ns)

    def resumable(self, zones: Sequence[Zone]) -> bool:
        """Whether each of these zones has a row to go on from.

        If only one has not, all begin again in a new epoch: a zone that was silent in the last frame may
        have been counted before, and would go backwards under the old one.
        """
        return bool(zones) and all(zone in self.rows for zone in zones)


def utc(unix_ns: int) -> str:
    """The time of day, to the second, as log lines have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_ns // 1_000_000_000))


def table(rows: Sequence[ZoneEnergy]) -> PowerZones:
    """The wire's table, in canonical order: zone, index, source."""
    rows = sorted(rows, key=lambda row: row.zone)
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
    )


def rows_of(zones: PowerZones) -> list[ZoneEnergy]:
    """The rows of the wire's table."""
    return [
        ZoneEnergy(
            zone=Zone(
                zones.zone[row], zones.index[row], zones.source[row], zones.provenance[row], zones.model[row]
            ),
            mono_ns=zones.mono_ns[row],
            energy_uj=zones.energy_uj[row],
            raw=zones.raw[row],
            raw_range=zones.raw_range[row],
            raw_epoch=zones.raw_epoch[row],
            gaps=zones.gaps[row],
            error_ratio_ppm=zones.error_ratio_ppm[row],
        )
        for row in range(len(zones))
    ]
