# SPDX-License-Identifier: Apache-2.0
"""Looking up rows in a sample or an activity frame."""

import time
from pathlib import Path

from wattline.wire.frames import CGROUP_DEPARTED


def cgroup_value(sample, cgroup: Path | int, column="cpu_ns", *, departed=False) -> int:
    """One column of a cgroup, over all sockets."""
    cgroup_id = cgroup if isinstance(cgroup, int) else cgroup.stat().st_ino
    rows = sample.cgroups
    flags = rows.flags or [0] * len(rows)
    return sum(
        value
        for row_id, flag, value in zip(rows.cgroup_id, flags, getattr(rows, column), strict=True)
        if row_id == cgroup_id and bool(flag & CGROUP_DEPARTED) == departed
    )


def processes(sample):
    """(comm, start, flags, ns) of each row, by (cgroup id, pid)."""
    rows = sample.processes
    found = {}
    for cgroup_id, pid, *rest in zip(
        rows.cgroup_id, rows.pid, rows.comm, rows.start_ticks, rows.flags, rows.cpu_ns, strict=True
    ):
        found.setdefault((cgroup_id, pid), []).append(tuple(rest))
    return found


def path_of(sample, cgroup_id: int) -> tuple[str, bool] | None:
    """(path, whether it is removed) of a cgroup."""
    rows = sample.paths
    for row_id, path, removed in zip(rows.cgroup_id, rows.path, rows.removed, strict=True):
        if row_id == cgroup_id:
            return path, bool(removed)
    return None


def charged_ns(sample):
    """All CPU time that a sample accounts for."""
    return sum(sample.cgroups.cpu_ns) + sum(sample.cpus.idle_ns) + sum(sample.cpus.lost_ns)


def elapsed_ns(sample):
    """How long its CPUs were there, each up to its own stamp."""
    offline_ns = sum(sample.cpus.offline_ns)
    return sum(sample.cpus.stamp_mono_ns) - sum(sample.cpus.start_mono_ns) - offline_ns


def wait_for(condition, seconds=10):
    """Its value, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value
