# SPDX-License-Identifier: Apache-2.0
"""What must hold between any two samples of the procfs backend."""

from tests.probe.rows import charged_ns, elapsed_ns


def published(sample) -> dict:
    """Every counter by what it is of."""
    rows, found = sample.processes, {"losses": sample.losses["unexplained_ns"]}
    for cgroup_id, flag, ns in zip(
        sample.cgroups.cgroup_id, sample.cgroups.flags, sample.cgroups.cpu_ns, strict=True
    ):
        found["cgroup", cgroup_id, flag] = ns
    for key in zip(rows.cgroup_id, rows.pid, rows.start_ticks, rows.cpu_ns, strict=True):
        assert key[:3] not in found, "two rows of one process in one cgroup"
        found[key[:3]] = key[3]
    for cpu, stamp, idle in zip(sample.cpus.cpu, sample.cpus.stamp_mono_ns, sample.cpus.idle_ns, strict=True):
        found["stamp", cpu], found["idle", cpu] = stamp, idle
    return found


def assert_closed_and_nothing_fell(before, after) -> None:
    """The two invariants; a row may go, its time may not."""
    assert charged_ns(after) == elapsed_ns(after)
    old, new = published(before), published(after)
    assert {key: ns for key, ns in old.items() if new.get(key, ns) < ns} == {}
    assert sum(before.cgroups.cpu_ns) <= sum(after.cgroups.cpu_ns)
