# SPDX-License-Identifier: Apache-2.0
"""The sources of all slots in the ledger: the choice of owners, and the readings of spares. Pure."""

from itertools import combinations

from wattline.wire.columns import U8, U32, U64
from wattline.wire.table import Table

from .candidate import Candidate, Described, Figures
from .meter import Meter
from .slots import Slots, cover_same

_OWNER, _COUNTED, _CURVE, _UNSEEN = 1, 2, 4, 8
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


class CandidatesTable(Table, kw_only=True):
    """The sources of each slot, in each power stream: see candidate.py.

    `state`: the sum of 1 for an owner, 2 for one that is counted, 4 for one with a curve, 8 for a curve that
    begins unread. `silent_ns`: since its last new reading, as far as the calculator has run since.
    """

    zone: list[str]
    index: list[str]
    source: list[str]
    stream: list[str]
    provenance: list[str]
    state: U8
    rank: U32
    period_ns: U64
    silent_ns: U64
    good: U32
    gaps: U32
    integration_uj: U64
    base_gaps: U32
    base_integration_uj: U64
    epoch: U64
    start_ns: U64
    start_uj: U64


def no_candidates() -> CandidatesTable:
    """The table without a row, as of an older ledger."""
    return CandidatesTable(
        zone=[],
        index=[],
        source=[],
        stream=[],
        provenance=[],
        state=U8(),
        rank=U32(),
        period_ns=U64(),
        silent_ns=U64(),
        good=U32(),
        gaps=U32(),
        integration_uj=U64(),
        base_gaps=U32(),
        base_integration_uj=U64(),
        epoch=U64(),
        start_ns=U64(),
        start_uj=U64(),
    )


class CandidatePointsTable(Table, kw_only=True):
    """Readings of spares beyond their curves' beginnings."""

    candidate_row: U32
    mono_ns: U64
    energy_uj: U64


def no_candidate_points() -> CandidatePointsTable:
    """The table without a row, as of an older ledger."""
    return CandidatePointsTable(candidate_row=U32(), mono_ns=U64(), energy_uj=U64())


def candidates_table(slots: Slots) -> CandidatesTable:
    """All candidates."""
    rows = list(slots.candidates.values())
    curves = [one.curve or Meter(0, 0) for one in rows]
    return CandidatesTable(
        zone=[one.name[0] for one in rows],
        index=[one.name[1] for one in rows],
        source=[one.name[2] for one in rows],
        stream=[one.stream for one in rows],
        provenance=[one.row.provenance for one in rows],
        state=U8(
            _OWNER * one.is_owner
            + _COUNTED * one.is_counted
            + _CURVE * (one.curve is not None)
            + _UNSEEN * one.is_unseen
            for one in rows
        ),
        rank=U32(one.row.rank for one in rows),
        period_ns=U64(one.row.period_ns for one in rows),
        silent_ns=U64(min(slots.awake_ns - one.renewed_ns, U64_MAX) for one in rows),
        good=U32(one.good for one in rows),
        gaps=U32(one.row.gaps for one in rows),
        integration_uj=U64(one.row.integration_uj for one in rows),
        base_gaps=U32(one.base.gaps for one in rows),
        base_integration_uj=U64(one.base.integration_uj for one in rows),
        epoch=U64(curve.epoch for curve in curves),
        start_ns=U64(curve.watermark_ns for curve in curves),
        start_uj=U64(curve.attributed_uj for curve in curves),
    )


def candidate_points_table(slots: Slots) -> CandidatePointsTable:
    """The readings of spares."""
    points = [
        (row, *point)
        for row, one in enumerate(slots.candidates.values())
        if one.curve is not None
        for point in one.curve.points
    ]
    return CandidatePointsTable(
        candidate_row=U32(row for row, _ns, _uj in points),
        mono_ns=U64(mono_ns for _row, mono_ns, _uj in points),
        energy_uj=U64(energy_uj for _row, _ns, energy_uj in points),
    )


def slots_from(table: CandidatesTable, points: CandidatePointsTable, now_ns: int) -> Slots:
    """The slots of a ledger. `now_ns`: CLOCK_MONOTONIC of the newest frame or tick before it.

    Raises IndexError or ValueError if the tables contradict each other, or a slot has two owners.
    """
    slots = Slots(now_ns=now_ns)
    rows = [_candidate(table, row) for row in range(len(table))]
    for row, mono_ns, energy_uj in zip(points.candidate_row, points.mono_ns, points.energy_uj, strict=True):
        curve = rows[row].curve
        if curve is not None:
            curve.points.append((mono_ns, energy_uj))
    for candidate in rows:
        slots.insert(candidate)
    _check_owners(rows)
    return slots


def _check_owners(rows: list[Candidate]) -> None:
    for one in rows:
        if one.is_counted and (not one.is_owner or one.curve is not None):
            raise ValueError(
                f"candidate {'/'.join(one.name)} of {one.stream}: expected a counted one to be an owner, and "
                "to have no curve"
            )
    owners = [one for one in rows if one.is_owner]
    for one, other in combinations(owners, 2):
        if cover_same(one.name, other.name, is_whole=one.is_whole or other.is_whole):
            raise ValueError(
                f"candidate {'/'.join(one.name)} of {one.stream}: expected one owner of its slot, got "
                f"{'/'.join(other.name)} of {other.stream} as well"
            )


def _candidate(table: CandidatesTable, row: int) -> Candidate:
    state = table.state[row]
    start_ns, start_uj = table.start_ns[row], table.start_uj[row]
    return Candidate(
        (table.zone[row], table.index[row], table.source[row]),
        table.stream[row],
        Described(
            table.rank[row],
            table.period_ns[row],
            table.provenance[row],
            gaps=table.gaps[row],
            integration_uj=table.integration_uj[row],
        ),
        renewed_ns=-table.silent_ns[row],
        good=table.good[row],
        is_owner=bool(state & _OWNER),
        is_counted=bool(state & _COUNTED),
        curve=Meter(table.epoch[row], start_ns, start_uj) if state & _CURVE else None,
        is_unseen=bool(state & _UNSEEN),
        base=Figures(start_ns, table.base_gaps[row], table.base_integration_uj[row]),
    )
