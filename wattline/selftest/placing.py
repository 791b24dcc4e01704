# SPDX-License-Identifier: Apache-2.0
"""Which load runs where, and the processes that make them."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wattline import isolated

from .cgroups import Cgroup

STORM_SHARE_RATIO = 0.2


@dataclass(frozen=True)
class Load:
    """One container: what runs in it, on which CPU."""

    who: str
    kind: str  # as loads.py has it
    share_ratio: float
    cpu: int
    cgroup: Cgroup


def placed(shares_ratio: Sequence[float], containers: Sequence[Cgroup], cpus: Sequence[int]) -> list[Load]:
    """Loads on CPUs, the largest first, each where least is; the last container has the fork storm."""
    wanted = [("spin", share_ratio) for share_ratio in shares_ratio] + [("storm", STORM_SHARE_RATIO)]
    taken = dict.fromkeys(cpus, 0.0)
    loads: dict[int, Load] = {}
    for number, (kind, share_ratio) in sorted(enumerate(wanted), key=lambda entry: -entry[1][1]):
        cpu = min(taken, key=lambda cpu: taken[cpu])
        taken[cpu] += share_ratio
        who = f"fork storm, {share_ratio:.0%}" if kind == "storm" else f"{share_ratio:.0%}"
        loads[number] = Load(f"{who} of CPU {cpu}", kind, share_ratio, cpu, containers[number])
    return [loads[number] for number in sorted(loads)]


class Processes:
    """Loads that run, and fillers that keep CPUs from idling; killed at the end of `running`."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start_loads(self, loads: Sequence[Load]) -> None:
        """Each in its container."""
        for load in loads:
            self._start(load.kind, load.cgroup, load.cpu, load.share_ratio)

    def start_fillers(self, cgroup: Cgroup, cpus: Sequence[int]) -> None:
        """One on each CPU."""
        for cpu in cpus:
            self._start("filler", cgroup, cpu, 1.0)

    def kill(self) -> None:
        """All."""
        for process in self._started:
            process.kill()
        for process in self._started:
            process.wait()

    def _start(self, kind: str, cgroup: Cgroup, cpu: int, share_ratio: float) -> None:
        # In our own session: where sessions share the CPU among themselves (autogroup), a filler in one of
        # its own would take from the loads.
        command = isolated.command("wattline.selftest.loads", kind, "--cgroup", str(cgroup.path))
        command += ["--cpu", str(cpu), "--share", str(share_ratio)]
        self._started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))


@contextlib.contextmanager
def running() -> Iterator[Processes]:
    """None at first."""
    processes = Processes()
    try:
        yield processes
    finally:
        processes.kill()
