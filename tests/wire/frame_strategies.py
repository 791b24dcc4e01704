# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for every frame type, made from the types, so that a new field is covered at once."""

from typing import Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from wattline.wire.columns import Column
from wattline.wire.frames import (
    Activity,
    ActivityCgroups,
    ActivityProcesses,
    AnyFrame,
    Energy,
    EnergyContainers,
    EnergyProcesses,
    EnergyUnattributed,
    EnergyZones,
    Frame,
    Metadata,
    Natural,
    Power,
    SourceState,
    Status,
    Table,
)

ROWS_MAX = 5
naturals = st.integers(0, 2**64 - 1)
# Everything a stranger may call itself: control characters and unpaired surrogates too.
texts = st.text(st.characters(), max_size=12)
counts = st.dictionaries(texts, naturals, max_size=3)
sources = st.lists(st.builds(SourceState, name=texts, up=st.booleans(), reason=texts), max_size=3)


def column(kind: type[Column], rows: int, below: int | None = None) -> st.SearchStrategy[Column]:
    if below is not None:
        return st.lists(st.integers(0, max(0, below - 1)), min_size=rows, max_size=rows).map(kind)
    # Bytes are drawn much faster than lists of numbers.
    size_bytes = rows * kind().itemsize
    return st.binary(min_size=size_bytes, max_size=size_bytes).map(kind)


def table(
    kind: type[Table], rows: int, columns: int = 0, below: dict[str, int] | None = None
) -> st.SearchStrategy[Any]:
    """A table of so many rows; `columns`: in each list of columns, as many as there are zones or counters.

    `below`: limits of columns that point to rows of other tables.
    """
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for entry in msgspec.structs.fields(kind):
        if entry.name in kind.column_lists:
            (item,) = get_args(entry.type)
            fields[entry.name] = st.lists(column(item, rows), min_size=columns, max_size=columns)
        elif get_origin(entry.type) is list:
            fields[entry.name] = st.lists(texts, min_size=rows, max_size=rows)
        else:
            fields[entry.name] = column(entry.type, rows, (below or {}).get(entry.name))
        if entry.name in kind.optional:
            fields[entry.name] |= st.builds(entry.default_factory)  # absent: empty, whatever the rows
    return st.builds(kind, **fields)


def tables(kind: type[Table]) -> st.SearchStrategy[Any]:
    return st.integers(0, ROWS_MAX).flatmap(lambda rows: table(kind, rows))


def frame(kind: type[Frame], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    by_type: dict[Any, st.SearchStrategy[Any]] = {
        Natural: naturals,
        str: texts,
        dict[str, Natural]: counts,
        list[SourceState]: sources,
    }
    fields = {}
    for entry in msgspec.structs.fields(kind):
        if entry.name == "schema":
            continue
        if entry.name in given:
            fields[entry.name] = given[entry.name]
        elif isinstance(entry.type, type) and issubclass(entry.type, Table):
            fields[entry.name] = tables(entry.type)
        else:
            fields[entry.name] = by_type[entry.type]
    return st.builds(kind, **fields)


@st.composite
def activities(draw: st.DrawFn) -> Activity:
    counters = draw(st.lists(texts, max_size=3))
    cgroups, processes = (draw(st.integers(0, ROWS_MAX)) for _ in range(2))
    built: Activity = draw(
        frame(
            Activity,
            cgroups=table(ActivityCgroups, cgroups, len(counters)),
            processes=table(ActivityProcesses, processes, len(counters)),
            counters=st.just(counters),
        )
    )
    return built


@st.composite
def energies(draw: st.DrawFn) -> Energy:
    zones, containers, processes, unattributed = (draw(st.integers(0, ROWS_MAX)) for _ in range(4))
    built: Energy = draw(
        frame(
            Energy,
            zones=table(EnergyZones, zones),
            unattributed=table(EnergyUnattributed, unattributed if zones else 0, below={"zone_row": zones}),
            containers=table(EnergyContainers, containers, zones),
            processes=table(
                EnergyProcesses, processes if containers else 0, zones, below={"container_row": containers}
            ),
        )
    )
    return built


FRAMES: dict[str, st.SearchStrategy[Any]] = {
    "activity": activities(),
    "power": frame(Power),
    "metadata": frame(Metadata),
    "energy": energies(),
    "status": frame(Status),
}
any_frame: st.SearchStrategy[AnyFrame] = st.one_of(list(FRAMES.values()))
