# SPDX-License-Identifier: Apache-2.0
"""Activity from /proc and the cgroup tree, for hosts where eBPF can't be had.

The kernel's own accounts, read once a tick: what lives shorter than that is not named, and there is nothing
but CPU time. Reads in files.py, keeps books in tables.py.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from wattline.wire.columns import U32, U64
from wattline.wire.frames import Activity, SourceState

from ..backend import Sample
from .files import ProcfsFiles
from .reading import Reading, parse_members
from .state import begin
from .state_file import recover, save
from .tables import UNEXPLAINED, ProcfsTables


class ProcfsBackend:
    """A `Backend`. `begun_because` says why this is a new epoch; empty if it goes on."""

    source = "procfs"

    def __init__(
        self,
        procfs: Path,
        cgroup_mount: Path | None,
        state_path: Path,
        boot_id: str,
        previous: Activity | None,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Goes on from the state at `state_path` and the `previous` frame if they belong together.

        Without a mount all is in one cgroup, 1. Raises OSError if there is no room for a new state.
        """
        self._state_path = state_path
        self._monotonic_ns = monotonic_ns
        with contextlib.ExitStack() as stack:
            self._files = stack.enter_context(contextlib.closing(ProcfsFiles(procfs, cgroup_mount)))
            root_id, ticks_per_s = self._files.root_id, self._files.ticks_per_s
            state, self.begun_because = recover(state_path, boot_id, root_id, previous)
            if state is None:
                state, previous = begin(self._read_bases(), boot_id, root_id, ticks_per_s), None
                save(state_path, state)
            self._state = state
            self._tables = ProcfsTables(state, ticks_per_s, previous)
            stack.pop_all()
        self.epoch = state.epoch

    def sample(self) -> Sample:
        """Read everything now."""
        begun_ns = self._monotonic_ns()
        reading = self._read()
        self._tables.advance(reading)
        if not reading.idle_ns.keys() <= set(self._state.cpu):
            self._remember_cpus()
        tables = self._tables
        return Sample(
            mono_ns=reading.stamp_mono_ns,
            skew_ns=self._monotonic_ns() - begun_ns,
            cpus=tables.cpus.table(),
            cgroups=tables.cgroups.table(),
            processes=tables.processes.table(),
            paths=tables.cgroups.paths(),
            losses={UNEXPLAINED: tables.unexplained_ns},
            sources=[SourceState(name=self.source, up=True)],
        )

    def retire(self, ended_before_ns: int) -> int:
        """Let go of what ended or was removed before a time; how many processes that were."""
        return self._tables.retire(ended_before_ns)

    def close(self, *, keep: bool) -> None:
        """Let go of all files. Unless `keep`, the next one begins a new epoch."""
        self._files.close()
        if not keep:
            self._state_path.unlink(missing_ok=True)

    def _read(self) -> Reading:
        """Processes first, CPUs last: none used more than its cgroup, and no cgroup more than there was."""
        places = self._files.places()
        lists = self._files.process_lists(places)
        places = [place for place in places if place.cgroup_id in lists]
        members, stats = parse_members(lists), self._files.stats()
        knows = self._tables.processes.knows
        strays = [pid for pid in stats if pid not in members and not knows(pid)]
        members |= self._files.strays(strays, places)
        usage_ns = self._files.usage_ns(places)
        stamp_mono_ns = self._monotonic_ns()
        return Reading(stamp_mono_ns, self._files.idle_ns(), places, usage_ns, members, stats)

    def _read_bases(self) -> Reading:
        """The same in the opposite order, for what is taken off again."""
        stamp_mono_ns = self._monotonic_ns()
        idle_ns, places = self._files.idle_ns(), self._files.places()
        usage_ns = self._files.usage_ns(places)
        return Reading(stamp_mono_ns, idle_ns, places, usage_ns, stats=self._files.stats())

    def _remember_cpus(self) -> None:
        """A CPU that was never there before has its own beginning; without it a restart could not go on."""
        bases_ns = self._tables.cpus.bases_ns()
        self._state.cpu, self._state.cpu_idle_ns = U32(bases_ns), U64(bases_ns.values())
        save(self._state_path, self._state)
