# SPDX-License-Identifier: Apache-2.0
"""Reads the pinned maps of cpu_time.bpf.c: small, no BCC, no LLVM."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    PROCESS_ENDED,
    PROCESS_KERNEL_THREAD,
    ActivityCgroups,
    ActivityProcesses,
    Cpus,
)
from wattline.wire.names import safe_name

from . import bpf_syscall as bpf
from . import layout

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Sample:
    """One reading of everything, in the tables of an activity frame."""

    mono_ns: int
    skew_ns: int
    cpus: Cpus
    cgroups: ActivityCgroups
    processes: ActivityProcesses
    losses: dict[str, int]


@dataclass
class _Identity:
    start_ticks: int
    ended_ns: int
    tgid: int
    flags: int
    comm: str


class PinnedMaps:
    """The maps and the flush program, opened from their pins."""

    def __init__(self, directory: Path, process_rows: int, cgroup_rows: int) -> None:
        """Raises FileNotFoundError if the program is not loaded."""
        with contextlib.ExitStack() as stack:
            self._fds: dict[str, int] = {}
            for name in (*layout.MAPS, layout.FLUSH):
                self._fds[name] = bpf.open_pinned(directory / name)
                stack.callback(os.close, self._fds[name])
            self._close = stack.pop_all().close
        self._cpu_count = _possible_cpus()
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._cgroups = bpf.HashReader(
            self._fds["cgroups"], layout.CGROUP_KEY_BYTES, layout.CGROUP_VALUE_BYTES, cgroup_rows
        )
        self._processes = bpf.HashReader(
            self._fds["processes"], layout.PROCESS_KEY.size, layout.PROCESS_VALUE_BYTES, process_rows
        )
        self._identities = bpf.HashReader(
            self._fds["identities"], layout.KEY.size, layout.IDENTITY.size, process_rows
        )
        self._identities_read: dict[int, _Identity] = {}
        self._sampled_ns = 0
        # By key: CPU time now; and CPU time with since when it has not changed.
        self._nameless_read: dict[tuple[int, int, int], int] = {}
        self._nameless: dict[tuple[int, int, int], tuple[int, int]] = {}
        totals = bpf.lookup(self._fds["totals"], layout.KEY.pack(0), layout.TOTALS.size)
        assert totals is not None
        self.epoch: int = layout.TOTALS.unpack(totals)[0]

    def close(self) -> None:
        """Close the descriptors; what is pinned goes on."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def sample(self) -> Sample:
        """Charge what is running, then read all tables.

        cgroups are read right after the flush: what spills in between is in them and not yet in the CPUs'
        stamps, and the skew covers it.
        """
        flushed = self._flush()
        _count, keys, values = self._cgroups.read()
        read_ns = time.monotonic_ns()
        cgroups = ActivityCgroups(cgroup_id=U64(keys.tobytes()), cpu_ns=U64(values.tobytes()))
        self._identities_read = self._read_identities()
        processes = self._read_processes(self._identities_read)
        cpus, losses = self._read_cpus()
        stamps = [stamp for cpu, stamp in zip(cpus.cpu, cpus.stamp_mono_ns, strict=True) if cpu in flushed]
        mono_ns = self._sampled_ns = (min(stamps) + max(stamps)) // 2
        return Sample(
            mono_ns=mono_ns,
            skew_ns=max(read_ns, *stamps) - min(stamps),
            cpus=cpus,
            cgroups=cgroups,
            processes=processes,
            losses=losses,
        )

    def retire(self, ended_before_ns: int) -> int:
        """Remove what the last sample showed to have ended before a time (CLOCK_MONOTONIC).

        Returns how many processes that were. Their time stays in their cgroup's row.
        """
        retiring = {
            generation: identity.tgid
            for generation, identity in self._identities_read.items()
            if 0 < identity.ended_ns < ended_before_ns
        }
        nameless = self._nameless_for_long(ended_before_ns)
        if not retiring and not nameless:
            return 0
        _count, keys, _values = self._processes.read()
        for key in layout.PROCESS_KEY.iter_unpack(keys.tobytes()):
            if key[2] in retiring or key in nameless:
                bpf.delete(self._fds["processes"], layout.PROCESS_KEY.pack(*key))
        for generation, tgid in retiring.items():
            owner = bpf.lookup(self._fds["generations"], layout.KEY.pack(tgid), layout.OWNER.size)
            if owner is not None and layout.OWNER.unpack(owner)[0] == generation:
                bpf.delete(self._fds["generations"], layout.KEY.pack(tgid))
            bpf.delete(self._fds["identities"], layout.KEY.pack(generation))
        return len(retiring)

    def _nameless_for_long(self, before_ns: int) -> set[tuple[int, int, int]]:
        """Keys of rows whose birth the kernel had no room to record, and that have not run since a time.

        Nothing will ever say that their processes have ended; one that still lives gets a new row.
        """
        self._nameless = {
            key: self._nameless[key]
            if key in self._nameless and self._nameless[key][0] == cpu_ns
            else (cpu_ns, self._sampled_ns)
            for key, cpu_ns in self._nameless_read.items()
        }
        return {key for key, (_cpu_ns, since_ns) in self._nameless.items() if since_ns < before_ns}

    def _flush(self) -> set[int]:
        """Charge and spill on each CPU; which CPUs were there (an offline one has nothing running)."""
        flushed = set()
        for cpu in range(self._cpu_count):
            try:
                bpf.run_on_cpu(self._fds[layout.FLUSH], cpu)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            else:
                flushed.add(cpu)
        return flushed

    def _read_identities(self) -> dict[int, _Identity]:
        _count, keys, values = self._identities.read()
        ticks = self._ticks_per_s
        return {
            generation: _Identity(start_boot_ns * ticks // _NS_PER_S, ended_ns, tgid, flags, safe_name(comm))
            for generation, (start_boot_ns, ended_ns, tgid, flags, comm) in zip(
                keys.cast("I"), layout.IDENTITY.iter_unpack(values), strict=True
            )
        }

    def _read_processes(self, identities: dict[int, _Identity]) -> ActivityProcesses:
        _count, keys, values = self._processes.read()
        words = keys.cast("I")
        unknown = _Identity(start_ticks=0, ended_ns=0, tgid=0, flags=0, comm="")
        rows = [identities.get(generation, unknown) for generation in words[3::4]]
        self._nameless_read = {
            key: cpu_ns
            for row, key, cpu_ns in zip(
                rows, layout.PROCESS_KEY.iter_unpack(keys), values.cast("Q"), strict=True
            )
            if row is unknown
        }
        return ActivityProcesses(
            cgroup_id=U64(keys.cast("Q")[0::2].tobytes()),
            pid=U32(words[2::4].tobytes()),
            start_ticks=U64([row.start_ticks for row in rows]),
            flags=U8([_wire_flags(row) for row in rows]),
            cpu_ns=U64(values.tobytes()),
            comm=[row.comm for row in rows],
        )

    def _read_cpus(self) -> tuple[Cpus, dict[str, int]]:
        raw = bpf.lookup(self._fds["cpus"], layout.KEY.pack(0), layout.CPU.size * self._cpu_count)
        totals = bpf.lookup(self._fds["totals"], layout.KEY.pack(0), layout.TOTALS.size)
        assert raw is not None
        assert totals is not None
        seen = [
            (number, dict(zip(layout.CPU_FIELDS, counters, strict=True)))
            for number, counters in enumerate(layout.CPU.iter_unpack(raw))
            if counters[0]
        ]
        losses = {
            "births": layout.TOTALS.unpack(totals)[3],
            "cgroup_updates": sum(cpu["failed_cgroup_updates"] for _number, cpu in seen),
            "process_updates": sum(cpu["failed_process_updates"] for _number, cpu in seen),
        }
        cpus = Cpus(
            cpu=U32(number for number, _cpu in seen),
            start_mono_ns=U64(cpu["start_ns"] for _number, cpu in seen),
            stamp_mono_ns=U64(cpu["flush_ns"] for _number, cpu in seen),
            idle_ns=U64(cpu["flush_idle_ns"] for _number, cpu in seen),
            lost_ns=U64(cpu["lost_ns"] for _number, cpu in seen),
        )
        return cpus, losses


def _wire_flags(identity: _Identity) -> int:
    kernel = PROCESS_KERNEL_THREAD if identity.flags & layout.FLAG_KERNEL_THREAD else 0
    return kernel | (PROCESS_ENDED if identity.ended_ns else 0)


def _possible_cpus() -> int:
    """How many values a per-CPU map holds; the kernel's list is like "0-3" or "0"."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return max(_cpu_list(text)) + 1


def _cpu_list(text: str) -> Iterator[int]:
    for part in text.strip().split(","):
        first, _dash, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
