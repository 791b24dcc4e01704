# SPDX-License-Identifier: Apache-2.0
"""Work of a known size, in a cgroup and on a CPU of choice, until it is killed.

    python -m wattline.selftest.loads KIND --cgroup DIRECTORY --cpu N [--share 0.3]

    spin      uses its share of a CPU in bursts, by the kernel's own account
    storm     uses its share for processes that end at once
    filler    uses what nobody else wants, so that the CPU never idles

The kernel's account charges part of a wake-up to the task that wakes: from idle, and where it preempts
another that is in the kernel just then. It is an instrument for a tenth of a percent only on a CPU that
never idles.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from .dying import die_with_parent

GRAIN_S = 0.01
_LAG_S = 0.5  # further behind its share, a load was stopped, or finds no room: it does not catch up
_TRUE = "/bin/true"


def main(arguments: list[str] | None = None) -> None:
    """Never returns."""
    parser = argparse.ArgumentParser(prog="wattline.selftest.loads")
    parser.add_argument("kind", choices=["spin", "storm", "filler"])
    parser.add_argument("--cgroup", type=Path, required=True)
    parser.add_argument("--cpu", type=int, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    given = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    os.sched_setaffinity(0, {given.cpu})
    # Python's own start is not part of the work.
    (given.cgroup / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    if given.kind == "filler":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            pass
    _keep_share(given.share, _spin_until if given.kind == "spin" else _storm_until)


def _keep_share(share_ratio: float, use_until: Callable[[float], None]) -> None:
    """Every 10 ms, work until the CPU time used is the share of the time passed."""
    start_s, used_before_s = time.monotonic(), used_s()
    while True:
        due_s = share_ratio * (time.monotonic() - start_s) + used_before_s
        if due_s - used_s() > _LAG_S:
            start_s, used_before_s = time.monotonic(), used_s()
        use_until(due_s)
        passed_s = time.monotonic() - start_s
        time.sleep(GRAIN_S - passed_s % GRAIN_S)


def used_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _spin_until(due_s: float) -> None:
    while time.process_time() < due_s:
        pass


def _storm_until(due_s: float) -> None:
    while used_s() < due_s:
        os.waitpid(os.posix_spawn(_TRUE, [_TRUE], {}), 0)


if __name__ == "__main__":
    main()
