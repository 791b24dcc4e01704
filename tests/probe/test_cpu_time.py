# SPDX-License-Identifier: Apache-2.0
"""The eBPF program on the real kernel, against known work and the kernel's own account."""

import os
import subprocess
import sys
import time

import pytest

from tests.load import SPIN, KernelAccount, in_cgroup, start_ticks
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD

MS = 1_000_000


def cgroup_ns(sample, cgroup):
    return dict(zip(sample.cgroups.cgroup_id, sample.cgroups.cpu_ns, strict=True)).get(
        cgroup.stat().st_ino, 0
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


def charged_ns(sample):
    return sum(sample.cgroups.cpu_ns) + sum(sample.cpus.idle_ns) + sum(sample.cpus.lost_ns)


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


LOADS = {
    "idle": None,
    "one pinned spin": ["taskset", "-c", "0", sys.executable, "-c", SPIN, "3600"],
    "hackbench": ["hackbench", "-g", "2", "-l", "1000000"],
    "fork storm": ["sh", "-c", "while :; do sh -c :; done"],
}


@pytest.mark.parametrize("name", LOADS)
def test_cpu_time_closes_in_each_interval(maps, cgroup, name):
    """Σ cgroups + idle + lost = CPUs × elapsed, within 1 ms and the published skew, under any load."""
    command = LOADS[name] or ["sleep", "3600"]
    with in_cgroup(cgroup, command, stdout=subprocess.DEVNULL):
        before = maps.sample()
        for _interval in range(5):
            time.sleep(0.2)
            after = maps.sample()
            elapsed_ns = len(after.cpus) * (after.mono_ns - before.mono_ns)
            error_ns = charged_ns(after) - charged_ns(before) - elapsed_ns
            skew_ns = len(after.cpus) * (before.skew_ns + after.skew_ns)
            assert abs(error_ns) < MS + skew_ns
            assert after.skew_ns < 100 * MS
            before = after


def test_a_spin_is_charged_while_it_runs(maps, cgroup):
    """A task that never leaves its CPU is charged in the window in which it ran, not when it leaves.

    It runs with real-time priority, so that whole windows pass without a switch on its CPU.
    """
    with in_cgroup(cgroup, ["chrt", "-f", "1", *LOADS["one pinned spin"]]):
        time.sleep(0.5)
        before, charged = maps.sample(), []
        for _window in range(10):
            time.sleep(0.05)
            after = maps.sample()
            window_ns = after.cpus.stamp_mono_ns[0] - before.cpus.stamp_mono_ns[0]
            charged.append((cgroup_ns(after, cgroup) - cgroup_ns(before, cgroup)) / window_ns)
            before = after
    # All but the share that the kernel keeps for others (50 ms a second, which may come at once).
    assert sum(ratio > 0.9 for ratio in charged) >= 7, charged


def test_a_cgroup_gets_what_the_kernel_says(maps, cgroup):
    """A CPU-bound job's cgroup row equals the kernel's own account of that cgroup within 0.5 %."""
    command = [sys.executable, "-c", SPIN, "2"]
    kernel = KernelAccount(cgroup)
    with in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"
        sample = maps.sample()
        assert kernel.agrees(cgroup_ns(sample, cgroup), 0.005)
        rows = processes(sample)[cgroup.stat().st_ino, process.pid]
    assert cgroup_ns(sample, cgroup) > 1900 * MS
    assert sum(row[-1] for row in rows) == cgroup_ns(sample, cgroup)


def test_every_short_process_is_named_and_ended(maps, cgroup):
    """23 children that live a millisecond are 23 named rows, marked as ended, with their true start."""
    script = "for i in $(seq 23); do /bin/true; done; echo done; read line"
    with in_cgroup(cgroup, ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout.readline() == b"done\n"

        def ended():
            rows = processes(maps.sample())
            return [
                row
                for (cgroup_id, _pid), found in rows.items()
                for row in found
                if cgroup_id == cgroup.stat().st_ino and row[0] == "true" and row[2] & PROCESS_ENDED
            ]

        wait_for(lambda: len(ended()) == 23)
        shell_start = start_ticks(shell.pid)
        assert all(shell_start <= start <= shell_start + 500 for _comm, start, _flags, _ns in ended())
        mine = processes(maps.sample())[cgroup.stat().st_ino, shell.pid]
        assert [(comm, start, flags) for comm, start, flags, _ns in mine] == [("sh", shell_start, 0)]


def test_an_ended_process_leaves_its_time_to_its_cgroup(maps, cgroup):
    """When ended rows are retired, names go and no time does."""
    with in_cgroup(cgroup, [sys.executable, "-c", "sum(range(3000000))"]) as process:
        process.wait()
        key = (cgroup.stat().st_ino, process.pid)
        wait_for(lambda: processes(maps.sample())[key][0][2] & PROCESS_ENDED)
        before = maps.sample()
        assert maps.retire(time.monotonic_ns()) >= 1
        after = maps.sample()
    assert key in processes(before)
    assert key not in processes(after)
    assert cgroup_ns(after, cgroup) == cgroup_ns(before, cgroup) > 10 * MS


def test_kernel_threads_are_told_apart(maps):
    """Kernel threads carry their flag, processes don't; both were there before the probe."""
    deadline = time.monotonic() + 10
    kernel, mine = set(), None
    while (not kernel or mine is None) and time.monotonic() < deadline:
        for (_cgroup_id, pid), found in processes(maps.sample()).items():
            for comm, _start, flags, _ns in found:
                if flags & PROCESS_KERNEL_THREAD:
                    kernel.add(comm)
                if pid == os.getpid():
                    mine = flags
        time.sleep(0.1)
    assert any(comm.startswith(("kworker", "ksoftirqd", "rcu_")) for comm in kernel)
    assert mine == 0


def test_a_name_may_be_anything(maps, cgroup):
    """A process that calls itself by escape codes and invalid UTF-8 appears as harmless text."""
    script = (
        "import ctypes,sys\n"
        "ctypes.CDLL(None).prctl(15, bytes([27]) + b'[31m\\n\"\\xff\\\\', 0, 0, 0)\n"
        "print('done', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"
        names = {row[0] for row in processes(maps.sample())[cgroup.stat().st_ino, process.pid]}
    assert names == {'\\x1b[31m\\x0a"\\xff\\'}


def test_a_full_process_table_costs_names_and_no_time(load_maps, cgroup):
    """With room for few processes, the cgroup's row still has all the time, and what failed is counted."""
    maps = load_maps(process_rows=64, cgroup_rows=1024)
    script = "for i in $(seq 300); do /bin/true; done; echo done; read line"
    kernel = KernelAccount(cgroup)
    with in_cgroup(cgroup, ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout.readline() == b"done\n"
        sample = maps.sample()
        assert kernel.agrees(cgroup_ns(sample, cgroup), 0.01, slack_ns=10 * MS)
    assert sample.losses["births"] > 100
    assert sample.losses["cgroup_updates"] == 0


def test_a_full_cgroup_table_says_how_much_time_it_lost(load_maps, cgroup):
    """Time that finds no cgroup row is published as lost, and CPU time still closes."""
    maps = load_maps(process_rows=4096, cgroup_rows=16)
    children = [cgroup / f"c{number}" for number in range(40)]
    for child in children:
        child.mkdir()
        with in_cgroup(child, [sys.executable, "-c", "sum(range(100000))"]) as process:
            process.wait()
    sample = maps.sample()
    for child in children:
        child.rmdir()
    assert sample.losses["cgroup_updates"] > 0
    assert sum(sample.cpus.lost_ns) > MS
    # Lost time is lost once: no process is charged what its cgroup was not. Rows read later may be ahead.
    ahead_ns = len(sample.cpus) * (sample.skew_ns + 50 * MS)
    assert sum(sample.processes.cpu_ns) <= sum(sample.cgroups.cpu_ns) + ahead_ns
    elapsed_ns = sum(sample.cpus.stamp_mono_ns) - sum(sample.cpus.start_mono_ns)
    assert abs(charged_ns(sample) - elapsed_ns) < MS + len(sample.cpus) * sample.skew_ns
