# SPDX-License-Identifier: Apache-2.0
"""The kernel's tables as those of an activity frame: columns out of rows, without a loop over them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import ActivityCgroups, ActivityPaths, ActivityProcesses, Cpus

from .cgroup_names import CgroupNames
from .identities import Identities
from .layout import Features

_ID_WORDS = 2  # of 32 bits: how much of a key is the cgroup id


@dataclass(frozen=True)
class CgroupRows:
    """Keys and values of the cgroups table, as bytes, row after row."""

    keys: memoryview
    values: memoryview

    def table(self, features: Features) -> ActivityCgroups:
        """As the frame has it."""
        words = self.keys.cast("I")
        return ActivityCgroups(
            cgroup_id=U64(self.keys.cast("Q")[0::2].tobytes()),
            socket=U32(words[2::4].tobytes()),
            flags=U8(words[3::4].tolist()),
            **use_columns(self.values, features),
        )


@dataclass(frozen=True)
class ProcessRows:
    """Keys and values of the processes table, as bytes, row after row."""

    keys: memoryview
    values: memoryview

    @property
    def generations(self) -> memoryview:
        """Who each row is of."""
        return self.keys.cast("I")[3::6]

    def table(self, features: Features, identities: Identities) -> ActivityProcesses:
        """As the frame has it. A row whose process the kernel had no room to record has a pid only."""
        words = self.keys.cast("I")
        start_ticks, flags, comm = identities.columns(self.generations.tolist())
        return ActivityProcesses(
            cgroup_id=U64(self.keys.cast("Q")[0::3].tobytes()),
            pid=U32(words[2::6].tobytes()),
            socket=U32(words[4::6].tobytes()),
            start_ticks=start_ticks,
            flags=flags,
            comm=comm,
            **use_columns(self.values, features),
        )


def use_columns(values: memoryview, features: Features) -> dict[str, Any]:
    """The columns of frames.Use from rows of 64-bit values."""
    words, width = values.cast("Q"), features.row_values

    def column(place: int) -> U64:
        return U64(words[place::width].tobytes())

    first = len(features.columns)
    places = range(first, width, 3)
    return {
        **{name: column(place) for place, name in enumerate(features.columns)},
        "counts": [column(place) for place in places],
        "counts_enabled_ns": [column(place + 1) for place in places],
        "counts_running_ns": [column(place + 2) for place in places],
    }


def cpu_table(
    accounts: Sequence[tuple[int, Mapping[str, int]]],
    sockets: Mapping[int, int],
    frequencies_khz: Mapping[int, int],
) -> Cpus:
    """CPUs by number with their accounts; the clock only where all of them tell it."""
    numbers = [number for number, _account in accounts]
    known = all(number in frequencies_khz for number in numbers)

    def column(name: str) -> U64:
        return U64([account[name] for _number, account in accounts])

    return Cpus(
        cpu=U32(numbers),
        start_mono_ns=column("start_ns"),
        stamp_mono_ns=column("stamp_ns"),
        idle_ns=column("idle_ns"),
        lost_ns=column("lost_ns"),
        offline_ns=column("offline_ns"),
        socket=U32([sockets.get(number, 0) for number in numbers]),
        frequency_khz=U32([frequencies_khz[number] for number in numbers] if known else []),
    )


def path_table(cgroup_ids: Sequence[int], names: CgroupNames) -> ActivityPaths:
    """Where the cgroups of a frame are."""
    ids = sorted(set(cgroup_ids))
    return ActivityPaths(
        cgroup_id=U64(ids),
        parent_id=U64([names.parent_id(cgroup_id) for cgroup_id in ids]),
        removed=U8([names.is_removed(cgroup_id) for cgroup_id in ids]),
        path=[names.path(cgroup_id) for cgroup_id in ids],
    )
