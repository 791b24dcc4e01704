# SPDX-License-Identifier: Apache-2.0
"""The pinned program: its tables read and its functions called. Small: no BCC, no LLVM."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from . import bpf_syscall as bpf
from . import layout, perf_events
from .identities import Record
from .tables import CgroupRows, ProcessRows

Accounts = list[tuple[int, dict[str, int]]]


class PinnedProgram:
    """One program by the directory of its pins. Its counters began at `epoch` (CLOCK_MONOTONIC)."""

    def __init__(self, directory: Path, features: layout.Features, cpu_count: int) -> None:
        """Raises FileNotFoundError if the program is not loaded."""
        for name in (*layout.RAW_TRACEPOINTS, *layout.TRACEPOINTS):
            (directory / f"link_{name}").lstat()  # without it, nothing would be charged to the right task
        self.features = features
        self._cpu_count = cpu_count
        self._fds: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            for name in (*layout.MAPS, *layout.CALLED, *(["perf_events"] if features.counters else [])):
                self._fds[name] = bpf.open_pinned(directory / name)
                stack.callback(os.close, self._fds[name])
            self._close = stack.pop_all().close
        row_bytes = 8 * features.row_values
        self._cgroups = self._reader("cgroups", layout.CGROUP_KEY.size, row_bytes)
        self._processes = self._reader("processes", layout.PROCESS_KEY.size, row_bytes)
        self._identities = self._reader("identities", layout.INDEX.size, layout.IDENTITY.size)
        self._removals = self._reader("removals", layout.CGROUP_ID.size, layout.REMOVAL.size)
        (self.epoch,) = layout.EPOCH.unpack(self._first("epoch", layout.EPOCH.size))
        self.page_events = [
            name for name in ("on_page_read", "on_page_dirtied") if (directory / f"link_{name}").exists()
        ]

    def close(self) -> None:
        """Close the descriptors; what is pinned goes on."""
        self._close()

    def flush(self, undisturbed: Iterable[int] = ()) -> set[int]:
        """Charge what runs and spill the cache on each CPU but some; which CPUs were there.

        Those left out are asked to do the same by themselves at their next switch.
        """
        left_out = set(undisturbed)
        if left_out:
            (request,) = layout.REQUEST.unpack(self._first("flush_requests", layout.REQUEST.size))
            bpf.update(self._fds["flush_requests"], layout.INDEX.pack(0), layout.REQUEST.pack(request + 1))
        flushed = set()
        for cpu in range(self._cpu_count):
            if cpu in left_out:
                continue
            try:
                bpf.run_on_cpu(self._fds["flush"], cpu)
            except OSError as error:
                if error.errno != errno.ENXIO:  # offline: nothing runs there
                    raise
            else:
                flushed.add(cpu)
        return flushed

    def accounts(self) -> Accounts:
        """(CPU, its account as of its newest flush) of each CPU that has been seen."""
        raw = bpf.lookup(self._fds["accounts"], layout.INDEX.pack(0), layout.ACCOUNT.size * self._cpu_count)
        assert raw is not None  # an array's first element exists
        accounts = (
            dict(zip(layout.ACCOUNT_FIELDS, row, strict=True)) for row in layout.ACCOUNT.iter_unpack(raw)
        )
        return [(number, account) for number, account in enumerate(accounts) if account["start_ns"]]

    def totals(self) -> dict[str, int]:
        """Counts of what the hooks met."""
        counts = layout.TOTALS.unpack(self._first("totals", layout.TOTALS.size))
        return dict(zip(layout.TOTALS_FIELDS, counts, strict=True))

    def cgroup_rows(self) -> CgroupRows:
        """All rows; overwritten by the next call."""
        return CgroupRows(*self._cgroups.read())

    def process_rows(self) -> ProcessRows:
        """All rows; overwritten by the next call."""
        return ProcessRows(*self._processes.read())

    def identities(self) -> tuple[memoryview, memoryview]:
        """Generations and their records; overwritten by the next call."""
        return self._identities.read()

    def removals(self) -> dict[int, int]:
        """When each cgroup was removed (CLOCK_MONOTONIC), 0 if it was not."""
        keys, values = self._removals.read()
        return dict(zip(keys.cast("Q"), values.cast("Q"), strict=True))

    def path(self, cgroup_id: int) -> bytes | None:
        """The path of a cgroup, with NULs at its end."""
        return bpf.lookup(self._fds["paths"], layout.CGROUP_ID.pack(cgroup_id), layout.PATH_BYTES)

    def fold(self, key: bytes, parent_id: int) -> bool:
        """Add a cgroup's row to its parent's departed row and free it, in one call; False if it is absent."""
        cgroup_id, socket, departed = layout.CGROUP_KEY.unpack(key)
        return bpf.call(self._fds["fold"], cgroup_id, socket, departed, parent_id) == 1

    def forget_cgroup(self, cgroup_id: int) -> None:
        """Drop a removed cgroup's path."""
        for name in ("paths", "removals"):
            bpf.delete(self._fds[name], layout.CGROUP_ID.pack(cgroup_id))

    def mark_removed(self, cgroup_id: int, removed_ns: int) -> None:
        """Say of a listed cgroup what the hook missed (0: that it exists)."""
        bpf.update(self._fds["removals"], layout.CGROUP_ID.pack(cgroup_id), layout.REMOVAL.pack(removed_ns))

    def forget_processes(self, rows: list[bytes], generations: dict[int, int]) -> None:
        """Drop rows by key, and generations (with their pid) for good."""
        bpf.delete_all(self._fds["processes"], rows)
        gone = []
        for generation, tgid in generations.items():
            key = layout.INDEX.pack(tgid)
            owner = bpf.lookup(self._fds["owners"], key, layout.OWNER.size)
            if owner is not None and layout.OWNER.unpack(owner)[0] == generation:
                gone.append(key)
        bpf.delete_all(self._fds["owners"], gone)
        bpf.delete_all(self._fds["identities"], [layout.INDEX.pack(generation) for generation in generations])

    def identity(self, generation: int) -> Record | None:
        """One record of the identities table as it is now."""
        raw = bpf.lookup(self._fds["identities"], layout.INDEX.pack(generation), layout.IDENTITY.size)
        if raw is None:
            return None
        record: Record = layout.IDENTITY.unpack(raw)
        return record

    def put_identity(self, generation: int, record: Record) -> None:
        """Replace a record of the identities table."""
        bpf.update(self._fds["identities"], layout.INDEX.pack(generation), layout.IDENTITY.pack(*record))

    def describe_cpu(self, cpu: int, socket: int, khz: int) -> None:
        """Say which socket a CPU is on, and its clock (0: not known)."""
        bpf.update(self._fds["cpu_settings"], layout.INDEX.pack(cpu), layout.CPU_SETTING.pack(socket, khz))

    def have_counters(self, cpu: int) -> None:
        """Give a CPU that was plugged in since it was given any new events: its former ones ended then."""
        if not self.features.counters:
            return
        key = layout.INDEX.pack(cpu)
        opened, plugged = (
            bpf.lookup(self._fds[name], key, layout.TIME.size) for name in ("counters_opened", "plugs")
        )
        assert opened is not None
        assert plugged is not None
        if layout.TIME.unpack(opened) <= layout.TIME.unpack(plugged):
            perf_events.give_counters(
                self._fds["perf_events"],
                self._fds["counters_opened"],
                self.features.counters,
                cpu,
                self._cpu_count,
            )

    def _first(self, array: str, value_bytes: int) -> bytes:
        value = bpf.lookup(self._fds[array], layout.INDEX.pack(0), value_bytes)
        assert value is not None  # an array's first element exists
        return value

    def _reader(self, name: str, key_bytes: int, value_bytes: int) -> bpf.HashReader:
        return bpf.HashReader(self._fds[name], key_bytes, value_bytes)
