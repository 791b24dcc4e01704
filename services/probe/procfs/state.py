# SPDX-License-Identifier: Apache-2.0
"""What the procfs backend must remember of the moment its epoch began. Pure."""

import contextlib
from typing import Annotated

from msgspec import Meta, Struct

from wattline.wire.columns import U32, U64

from ..processes import parse_stat
from .reading import Reading

STATE_SCHEMA = 1
_NS_PER_S = 1_000_000_000


class ProcfsState(Struct, kw_only=True):
    """The kernel's figures when the epoch began, of those who were there: ours are 0 at that moment.

    Who is not in it was born later and began at 0 itself; a CPU that came later is added. `root_id` is the
    cgroup2 mount's: with another mount nothing here would hold.
    """

    state_schema: int = STATE_SCHEMA
    boot_id: str
    epoch: Annotated[int, Meta(ge=0)]
    root_id: Annotated[int, Meta(ge=0)]
    cpu: U32
    cpu_idle_ns: U64
    cgroup_id: U64
    cgroup_usage_ns: U64
    process_pid: U32
    process_start_ticks: U64
    process_cpu_ns: U64

    def __post_init__(self) -> None:
        self.cpu_bases_ns()
        self.cgroup_bases_ns()
        self.process_bases_ns()

    def cpu_bases_ns(self) -> dict[int, int]:
        """Idle time by CPU. Raises ValueError if columns are unequal."""
        return dict(zip(self.cpu, self.cpu_idle_ns, strict=True))

    def cgroup_bases_ns(self) -> dict[int, int]:
        """CPU time with descendants by cgroup id. Raises ValueError if columns are unequal."""
        return dict(zip(self.cgroup_id, self.cgroup_usage_ns, strict=True))

    def process_bases_ns(self) -> dict[tuple[int, int], int]:
        """CPU time by (pid, start). Raises ValueError if columns are unequal."""
        keys = zip(self.process_pid, self.process_start_ticks, strict=True)
        return dict(zip(keys, self.process_cpu_ns, strict=True))


def begin(reading: Reading, boot_id: str, root_id: int, ticks_per_s: int) -> ProcfsState:
    """An epoch that begins with a reading."""
    processes = []
    for pid, stat in reading.stats.items():
        with contextlib.suppress(ValueError):  # read while it ended
            processes.append(parse_stat(pid, stat))
    return ProcfsState(
        boot_id=boot_id,
        epoch=reading.stamp_mono_ns,
        root_id=root_id,
        cpu=U32(reading.idle_ns),
        cpu_idle_ns=U64(reading.idle_ns.values()),
        cgroup_id=U64(reading.usage_ns),
        cgroup_usage_ns=U64(reading.usage_ns.values()),
        process_pid=U32(process.pid for process in processes),
        process_start_ticks=U64(process.start_ticks for process in processes),
        process_cpu_ns=U64(process.cpu_ticks * _NS_PER_S // ticks_per_s for process in processes),
    )
