# SPDX-License-Identifier: Apache-2.0
"""The procfs backend on the real kernel, against the kernel's own account."""

import os
import re
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.probe.procfs.backend import ProcfsBackend
from tests.load import SPIN, KernelAccount, in_cgroup, kernel_cpu_us, start_ticks
from tests.probe.clone_with_pid import free_pid
from tests.probe.rows import cgroup_value, path_of, processes, wait_for
from wattline import cgroup2
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD

from .fake_machine import MS, TICK_NS, US, descriptors
from .invariants import assert_closed_and_nothing_fell

PROCFS = Path("/proc")


@contextmanager
def real_backend(directory: Path, previous=None):
    backend = ProcfsBackend(PROCFS, cgroup2.find_mount(PROCFS), directory / "procfs_state", "boot", previous)
    try:
        yield backend
    finally:
        backend.close(keep=True)


def test_a_spin_is_charged_as_the_kernel_charges_it(run_directory, cgroup):
    """A cgroup's row is the kernel's own account of it, and the process in it explains that to two ticks."""
    kernel = KernelAccount(cgroup)
    with (
        real_backend(run_directory) as backend,
        in_cgroup(
            cgroup, [sys.executable, "-c", SPIN, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as spin,
    ):
        assert spin.stdout.readline() == b"done\n"
        sample = backend.sample()
        ours_ns = cgroup_value(sample, cgroup)
        assert kernel.agrees(ours_ns, 0.001)
        ((comm, start, flags, process_ns),) = processes(sample)[cgroup.stat().st_ino, spin.pid]
        assert (start, flags) == (start_ticks(spin.pid), 0)
    assert comm.startswith("python")
    assert ours_ns - 3 * TICK_NS <= process_ns <= ours_ns + 3 * TICK_NS
    assert ours_ns > 900 * MS


def test_time_closes_on_the_real_machine(run_directory, cgroup):
    """Under a spin Σ cgroups + Σ idle is the CPUs' elapsed time to the nanosecond, and nothing falls."""
    with real_backend(run_directory) as backend, in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]):
        before = first = backend.sample()
        kernel = KernelAccount(cgroup)
        for _interval in range(5):
            time.sleep(0.2)
            kernel_ns, after = kernel.used_ns(), backend.sample()
            assert_closed_and_nothing_fell(before, after)
            before = after
        spun_ns = cgroup_value(after, cgroup) - cgroup_value(first, cgroup)
        assert spun_ns >= kernel_ns > 10 * MS


def test_a_real_cgroup_that_goes_leaves_its_time_to_its_parent(run_directory, cgroup):
    """A removed cgroup's row stays until it is retired, then its time is in its parent's departed row."""
    child = cgroup / "child"
    child.mkdir()
    command = [sys.executable, "-c", SPIN, "0.2"]
    with real_backend(run_directory) as backend:
        with in_cgroup(child, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as spin:
            assert spin.stdout.readline() == b"done\n"
            child_id, alive = child.stat().st_ino, backend.sample()
        wait_for(lambda: not (child / "cgroup.procs").read_text())
        child.rmdir()
        removed = backend.sample()
        backend.retire(time.monotonic_ns())
        folded = backend.sample()
        kernel_ns = kernel_cpu_us(cgroup) * US
    ns = cgroup_value(alive, child_id)
    assert ns > 190 * MS
    assert (cgroup_value(removed, child_id), path_of(removed, child_id)[1]) == (ns, True)
    assert path_of(removed, child_id)[0].endswith("/child")
    assert path_of(folded, child_id) is None
    assert cgroup_value(folded, cgroup, departed=True) == ns
    # What it used after it was last seen is its parent's own: the kernel says no more.
    assert ns + cgroup_value(folded, cgroup) == kernel_ns


def test_a_real_process_that_moves_has_two_rows(run_directory, cgroup):
    """What it used before is in its old cgroup's row, what it uses from now on in the new one's."""
    old, new = cgroup / "old", cgroup / "new"
    for path in (old, new):
        path.mkdir()
    script = SPIN + SPIN.partition("import sys, time")[2].replace("argv[1]", "argv[2]")
    command = [sys.executable, "-c", script.replace("sys.stdin.read()", "sys.stdin.readline()"), "0.2", "0.5"]
    with (
        real_backend(run_directory) as backend,
        in_cgroup(old, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as spin,
    ):
        assert spin.stdout.readline() == b"done\n"
        before = processes(backend.sample())
        (new / "cgroup.procs").write_text(str(spin.pid))
        spin.stdin.write(b"\n")
        spin.stdin.flush()
        assert spin.stdout.readline() == b"done\n"
        after = processes(backend.sample())
        ids = old.stat().st_ino, new.stat().st_ino
    wait_for(lambda: not any((path / "cgroup.procs").read_text() for path in (old, new)))
    old.rmdir()
    new.rmdir()
    stood = before[ids[0], spin.pid][0][-1]
    old_ns, new_ns = (after[cgroup_id, spin.pid][0][-1] for cgroup_id in ids)
    assert stood <= old_ns <= stood + 2 * TICK_NS
    assert 250 * MS < new_ns < 350 * MS


def test_a_kept_descriptor_never_reads_a_successor(run_directory):
    """When a pid is used again, the old process has ended and the new one has a row of its own."""
    with real_backend(run_directory) as backend:
        pid = free_pid()
        with subprocess.Popen([*WITH_PID, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout.readline() == b"first\n"
            first_start = start_ticks(pid)
            backend.sample()
            time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # or both would have the same start
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == b"second\n"
            second_start, sample = start_ticks(pid), backend.sample()
        rows = {
            start: (comm, bool(flags & PROCESS_ENDED))
            for (_cgroup_id, row_pid), found in processes(sample).items()
            for comm, start, flags, _ns in found
            if row_pid == pid
        }
        assert rows == {first_start: ("first", True), second_start: ("second", False)}


# Two children with one process id; each is told about, and ends when a line comes.
WITH_PID = (
    sys.executable,
    "-c",
    """
import os, sys
from tests.probe.clone_with_pid import PR_SET_NAME, clone, libc
for name in ("first", "second"):
    child = clone(int(sys.argv[1]))
    if child == 0:
        libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
        print(name, flush=True)
        sys.stdin.buffer.raw.read(1)
        os._exit(0)
    os.waitpid(child, 0)
""",
)


def test_kernel_threads_have_the_names_that_ebpf_gives_them(run_directory):
    """They carry their flag, and a worker's name does not change with its work."""
    with real_backend(run_directory) as backend:
        rows = [row for found in processes(backend.sample()).values() for row in found]
    kernel = {comm for comm, _start, flags, _ns in rows if flags & PROCESS_KERNEL_THREAD}
    assert any(comm.startswith("kworker/") for comm in kernel)
    assert max(map(len, kernel)) <= 15
    assert not any(
        "-" in comm or "+" in comm for comm in kernel if comm.startswith(("kworker/0", "kworker/u"))
    )


def test_threaded_cgroups_count_with_the_one_they_are_part_of(run_directory, cgroup):
    """A threaded cgroup has no row: what its threads use is that of the cgroup that their process is in."""
    threaded = cgroup / "threaded"
    threaded.mkdir()
    (threaded / "cgroup.type").write_text("threaded")
    command = [sys.executable, "-c", SPIN, "0.2"]
    try:
        with (
            real_backend(run_directory) as backend,
            in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as spin,
        ):
            (threaded / "cgroup.threads").write_text(str(spin.pid))
            assert spin.stdout.readline() == b"done\n"
            sample = backend.sample()
            assert path_of(sample, threaded.stat().st_ino) is None
            assert kernel_cpu_us(cgroup) * US - cgroup_value(sample, cgroup) < 5 * MS, (
                "it still came to a halt"
            )
            assert (cgroup.stat().st_ino, spin.pid) in processes(sample)
    finally:
        wait_for(lambda: not (threaded / "cgroup.threads").read_text())
        threaded.rmdir()


def test_descriptors_are_bounded_and_closed(run_directory, cgroup):
    """With few descriptors allowed it keeps few, reads all the same, and leaves none open."""
    with ExitStack() as stack:
        ours = {stack.enter_context(in_cgroup(cgroup, ["sleep", "600"])).pid for _number in range(40)}
        before = descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with real_backend(run_directory) as backend:
            assert ours <= set(backend.sample().processes.pid)
            assert ours <= kept()
        assert descriptors() == before
        resource.setrlimit(resource.RLIMIT_NOFILE, (144, hard))
        try:
            with real_backend(run_directory) as backend:
                assert ours <= set(backend.sample().processes.pid)
                assert descriptors() - before <= 144 // 4
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before


def kept() -> set[int]:
    """Processes whose stat is held open here."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {int(link.split("/")[2]) for link in links if re.fullmatch(r"/proc/\d+/stat", link)}
