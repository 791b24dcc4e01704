# SPDX-License-Identifier: Apache-2.0
"""Samples of a pinned program, and what is let go of between them."""

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from wattline.errors import Fatal
from wattline.wire.frames import SourceState

from ..backend import Sample
from . import cpus, layout
from .cgroup_names import CgroupNames
from .identities import Identities
from .kernel_facts import read_facts
from .pinned import Accounts, PinnedProgram
from .reconcile import Reconciler
from .refusal import PERF_EVENT, Refusal, explanation
from .tables import CgroupRows, ProcessRows, cpu_table, path_table

SOURCE = "ebpf"
COUNTERS = "counters"
_CLOCK_ERROR_NS_MAX = 1_000_000_000  # far above what two readings of one clock can differ by
_ATTEMPTS = 5  # at two readings that fit together; a reading takes less than a millisecond
_PAGE_EVENTS = {"on_page_read": "pages read", "on_page_dirtied": "pages dirtied"}


class EbpfReader:
    """Reads one program once per call; keeps between calls only what can be read anew."""

    def __init__(
        self, program: PinnedProgram, sysfs: Path, procfs: Path, undisturbed: Collection[int] = ()
    ) -> None:
        self.program = program
        self.epoch = program.epoch
        self._sysfs = sysfs
        self._undisturbed = undisturbed
        self._identities = Identities(os.sysconf("SC_CLK_TCK"))
        self._names = CgroupNames()
        self._reconciler = Reconciler(program, self._identities, self._names, procfs)
        self._online: set[int] = set()  # of those that have all they need
        self._refused: dict[int, int] = {}  # error by CPU that came and has no counters
        self._refusal = ""  # the same in words
        self._sockets: dict[int, int] = {}
        self._rows: ProcessRows | None = None
        self._cgroup_keys: list[bytes] = []
        self._sampled_ns = 0
        # By key of a nameless row: CPU time, and since when it has not changed.
        self._nameless: dict[bytes, tuple[int, int]] = {}

    def sample(self) -> Sample:
        """Charge what is running, then read all tables.

        cgroups are read right after the flush: what spills in between is in them and not yet in the CPUs'
        stamps, and the skew covers it.
        """
        program, features = self.program, self.program.features
        frequencies = self._describe_cpus()
        begun_ns = time.monotonic_ns()
        flushed = program.flush(self._undisturbed)
        cgroup_rows, accounts = self._rows_and_accounts()
        read_ns = time.monotonic_ns()
        self._rows = program.process_rows()
        cgroups = cgroup_rows.table(features)
        self._cgroup_keys = _records(cgroup_rows.keys, layout.CGROUP_KEY.size)
        self._take_names()
        self._identities.take(*program.identities())
        processes = self._rows.table(features, self._identities)
        stamps = [account["stamp_ns"] for cpu, account in accounts if cpu in flushed] or [read_ns]
        _require_one_clock(begun_ns, stamps, read_ns)
        self._sampled_ns = (min(stamps) + max(stamps)) // 2
        return Sample(
            mono_ns=self._sampled_ns,
            skew_ns=max(read_ns, *stamps) - min(stamps),
            cpus=cpu_table(accounts, self._sockets, frequencies),
            cgroups=cgroups,
            processes=processes,
            paths=path_table(cgroups.cgroup_id, self._names),
            counters=list(features.counters),
            losses=self._losses(accounts),
            sources=self._sources(),
        )

    def retire(self, ended_before_ns: int) -> int:
        """Let go of what ended before a time, and make good what the hooks have missed."""
        self._retire_cgroups(ended_before_ns)
        retired = self._retire_processes(ended_before_ns)
        self._reconciler.step(self._cgroup_keys, self._sampled_ns)
        return retired

    def close(self) -> None:
        """Close the descriptors; what is pinned goes on."""
        self._reconciler.close()
        self.program.close()

    def _rows_and_accounts(self) -> tuple[CgroupRows, Accounts]:
        """Cgroups and CPUs that fit together: a CPU that flushes itself may do so in between."""
        accounts = self.program.accounts()
        for _attempt in range(_ATTEMPTS):
            rows, before = self.program.cgroup_rows(), accounts
            accounts = self.program.accounts()
            if accounts == before:
                break
        return rows, accounts

    def _describe_cpus(self) -> dict[int, int]:
        """Tell the program of CPUs that have come, and of clocks; clocks in kHz by CPU."""
        online = cpus.online(self._sysfs)
        came = online - self._online
        if came:
            self._sockets |= cpus.sockets(self._sysfs, came)
            for cpu in came:
                self.program.describe_cpu(cpu, self._sockets[cpu], 0)
        self._open_counters(came)
        self._online = online - self._refused.keys()  # tried again at the next sample
        if not self.program.features.frequency:
            return {}
        frequencies = cpus.frequencies_khz(self._sysfs, online)
        for cpu, khz in frequencies.items():
            self.program.describe_cpu(cpu, self._sockets[cpu], khz)
        return frequencies

    def _open_counters(self, came: Iterable[int]) -> None:
        """Give counters to CPUs that came; keep those for which the kernel now refuses them.

        Loading may have had CAP_SYS_ADMIN, which the reader has given up.
        """
        refused = {}
        for cpu in sorted(came):
            try:
                self.program.have_counters(cpu)
            except OSError as error:
                refused[cpu] = error.errno or 0
        if refused != self._refused:  # else the words stay, and no facts are read at each sample
            self._refused, self._refusal = refused, _explained(refused)

    def _take_names(self) -> None:
        for cgroup_id in self._names.take_removals(self.program.removals()):
            path = self.program.path(cgroup_id)
            if path is not None:
                self._names.take_path(cgroup_id, path)

    def _retire_cgroups(self, before_ns: int) -> None:
        """Fold the rows of removed cgroups into their parents', children first."""
        removed = self._names.removed_before(before_ns)
        if not removed:
            return
        keys: dict[int, list[bytes]] = {}
        for key in _records(self.program.cgroup_rows().keys, layout.CGROUP_KEY.size):
            keys.setdefault(layout.CGROUP_KEY.unpack(key)[0], []).append(key)
        for cgroup_id in removed:
            parent_id = self._names.parent_id(cgroup_id)
            for key in keys.pop(cgroup_id, []):
                self.program.fold(key, parent_id)
                _id, socket, _departed = layout.CGROUP_KEY.unpack(key)
                keys.setdefault(parent_id, []).append(layout.CGROUP_KEY.pack(parent_id, socket, 1))
            self.program.forget_cgroup(cgroup_id)
            self._names.drop_presumed(cgroup_id)

    def _retire_processes(self, before_ns: int) -> int:
        if self._rows is None:
            return 0
        retiring = self._identities.ended_before(before_ns)
        nameless = self._nameless_for_long(before_ns)
        if not retiring and not nameless:
            return 0
        keys = [
            self._row_key(place)
            for place, generation in enumerate(self._rows.generations.tolist())
            if generation in retiring
        ]
        tgids = {generation: self._identities.record(generation)[2] for generation in retiring}
        self.program.forget_processes([*keys, *nameless], tgids)
        for key in nameless:
            del self._nameless[key]
        return len(retiring)

    def _nameless_for_long(self, before_ns: int) -> list[bytes]:
        """Keys of rows of nobody that is known, and that have not run since a time.

        The kernel had no room to name them, or they come late, out of the cache of a CPU that was away.

        Nothing will ever say that their processes have ended; one that still lives gets a new row.
        """
        assert self._rows is not None
        generations = self._rows.generations
        if not self._nameless and all(map(self._identities.__contains__, generations.tolist())):
            return []
        width = self.program.features.row_values
        cpu_ns = self._rows.values.cast("Q")[0::width]
        current = {
            self._row_key(place): cpu_ns[place]
            for place, generation in enumerate(generations.tolist())
            if generation not in self._identities
        }
        self._nameless = {
            key: self._nameless[key]
            if self._nameless.get(key, (-1, 0))[0] == used_ns
            else (used_ns, self._sampled_ns)
            for key, used_ns in current.items()
        }
        return [key for key, (_used_ns, since_ns) in self._nameless.items() if since_ns < before_ns]

    def _row_key(self, place: int) -> bytes:
        assert self._rows is not None
        size = layout.PROCESS_KEY.size
        return self._rows.keys[place * size : (place + 1) * size].tobytes()

    def _losses(self, accounts: Accounts) -> dict[str, int]:
        totals = self.program.totals()
        return {
            "births": totals["failed_births"],
            "cgroup_paths": totals["failed_paths"],
            "cgroup_updates": sum(account["failed_cgroup_updates"] for _cpu, account in accounts),
            "process_updates": sum(account["failed_process_updates"] for _cpu, account in accounts),
            "unseen_births": totals["unseen_births"],
        }

    def _counters_source(self) -> list[SourceState]:
        """Only where counters are kept."""
        if not self.program.features.counters:
            return []
        return [SourceState(name=COUNTERS, up=not self._refusal, reason=self._refusal)]

    def _sources(self) -> list[SourceState]:
        missing = sorted(_PAGE_EVENTS[name] for name in _PAGE_EVENTS.keys() - set(self.program.page_events))
        reason = f"this kernel has no hook that counts {' and '.join(missing)}" if missing else ""
        return [
            SourceState(name=SOURCE, up=True),
            SourceState(name="page_cache", up=not missing, reason=reason),
            *self._counters_source(),
            *self._reconciler.blind_spots(),
        ]


def _explained(refused: Mapping[int, int]) -> str:
    """Why CPUs have no counters, with the error of the first; empty if none was refused."""
    if not refused:
        return ""
    first, more = next(iter(refused)), len(refused) - 1
    which = f"CPU {first} and {more} more" if more else f"CPU {first}"
    refusal = Refusal(PERF_EVENT, f"counters of {which}", refused[first])
    return (
        f"{explanation(refusal, read_facts())}. Or start the probe again; until then what runs on {which} "
        "has CPU time and no counts"
    )


def _require_one_clock(begun_ns: int, stamps: Sequence[int], read_ns: int) -> None:
    """Raise Fatal unless the kernel's stamps lie between two readings of our clock."""
    late_ns, early_ns = max(stamps) - read_ns, begun_ns - min(stamps)
    if max(late_ns, early_ns) > _CLOCK_ERROR_NS_MAX:
        raise Fatal(
            f"CLOCK_MONOTONIC here is not the kernel's: expected its stamps between {begun_ns} and {read_ns} "
            f"ns, got {min(stamps)} to {max(stamps)}; start the probe in the host's time namespace",
            Fatal.SETTINGS,
        )


def _records(rows: memoryview, size: int) -> list[bytes]:
    raw = rows.tobytes()
    return [raw[start : start + size] for start in range(0, len(raw), size)]
