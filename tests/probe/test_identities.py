# SPDX-License-Identifier: Apache-2.0
"""A pid is not an identity: reuse, and births and ends that the kernel's hooks missed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.probe.ebpf import bpf_syscall as bpf
from services.probe.ebpf import layout
from tests.load import SPIN, in_cgroup, start_ticks, steal_ns
from tests.probe.clone_with_pid import free_pid
from tests.probe.rows import cgroup_value, processes, wait_for
from wattline.wire.frames import PROCESS_ENDED

MS = 1_000_000


@pytest.mark.parametrize("flush_between", [False, True])
def test_a_reused_pid_is_a_row_of_its_own(reader, cgroup, flush_between):
    """Five processes with one pid, one after the other, are five rows, each with its own name and time."""
    pid = free_pid()
    command = [sys.executable, str(Path(__file__).with_name("clone_with_pid.py")), str(pid), "5"]
    stolen_before_ns = steal_ns()
    with in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for number in range(1, 6):
            assert parent.stdout.readline() == f"reuse-{number} {pid}\n"
            if flush_between:
                reader.sample()

        def all_ended():
            rows = processes(reader.sample()).get((cgroup.stat().st_ino, pid), [])
            reader.retire(0)
            return rows if len(rows) == 5 and all(row[2] & PROCESS_ENDED for row in rows) else None

        rows = wait_for(all_ended)
        sample = reader.sample()
    by_name = {comm: cpu_ns for comm, _start, _flags, cpu_ns in rows}
    for number in range(1, 6):
        over_ns = by_name[f"reuse-{number}"] - 20 * MS * number
        assert 0 <= over_ns < 15 * MS + steal_ns() - stolen_before_ns
    # A start is told in ticks of 10 ms, which is less than each of them lived.
    assert len({start for _comm, start, _flags, _ns in rows}) == 5
    assert cgroup_value(sample, cgroup) > 300 * MS


def test_a_birth_that_was_missed_is_made_good(reader, cgroup):
    """A process of whose birth nothing is known has its name and true start all the same."""
    with in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]) as process:
        time.sleep(0.1)
        reader.sample()
        # As if the event of its birth had been missed.
        owners = reader.program._fds["owners"]
        key = layout.INDEX.pack(process.pid)
        (generation, _skip) = layout.OWNER.unpack(bpf.lookup(owners, key, layout.OWNER.size))
        bpf.delete(owners, key)
        bpf.delete(reader.program._fds["identities"], layout.INDEX.pack(generation))

        def found():
            sample = reader.sample()
            reader.retire(0)
            rows = processes(sample).get((cgroup.stat().st_ino, process.pid), [])
            return [row for row in rows if row[1] == start_ticks(process.pid)]

        rows = wait_for(found)
        assert rows[0][0] == Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8").strip()
        assert reader.sample().losses["unseen_births"] >= 1


def test_an_end_that_was_missed_is_found(reader, cgroup):
    """A process whose end the kernel did not tell is marked as ended within a round of looking."""
    with in_cgroup(cgroup, [sys.executable, "-c", "sum(range(1000000))"]) as process:
        process.wait()
    key = (cgroup.stat().st_ino, process.pid)
    wait_for(lambda: processes(reader.sample())[key][0][2] & PROCESS_ENDED)
    identities = reader._identities
    (generation,) = [
        number
        for number in identities.ended_before(time.monotonic_ns())
        if identities.record(number)[2] == process.pid
    ]
    start, _ended, *rest = identities.record(generation)
    reader.program.put_identity(generation, (start, 0, *rest))  # as if it had been missed
    assert not processes(reader.sample())[key][0][2] & PROCESS_ENDED
    for _step in range(130):
        reader.sample()
        reader.retire(0)
    assert processes(reader.sample())[key][0][2] & PROCESS_ENDED


def test_a_process_that_lives_is_not_ended_by_looking(reader, cgroup):
    """Rounds of looking leave the living alone."""
    with in_cgroup(cgroup, ["sleep", "60"]) as process:
        for _step in range(130):
            reader.sample()
            reader.retire(0)
        assert processes(reader.sample())[cgroup.stat().st_ino, process.pid][0][2] == 0


def test_threads_are_not_processes(reader, cgroup):
    """Eight threads are one row, under the name of their process, and their ends do not end it."""
    script = (
        "import threading, sys\n"
        "def work(): sum(range(2000000))\n"
        "for _ in range(8):\n"
        "    thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "print('done', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"
        time.sleep(0.1)
        rows = {key: row for key, row in processes(reader.sample()).items() if key[0] == cgroup.stat().st_ino}
    assert [key[1] for key in rows] == [process.pid]
    ((_comm, start, flags, cpu_ns),) = rows[cgroup.stat().st_ino, process.pid]
    assert (flags, start > 0) == (0, True)
    assert cpu_ns > 50 * MS
