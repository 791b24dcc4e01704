# SPDX-License-Identifier: Apache-2.0
"""Real processes that are called like hypervisors: what the kernel shows of them is understood."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.metadata import procfs
from services.metadata.machines.hypervisors import candidates, recognised
from services.metadata.machines.question import COMMAND_LINE_BYTES_MAX, Answer, ask, is_alive
from tests.load import start_ticks

from .machine import Stage, activity

PROC = Path("/proc")
U = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
WAIT = "print(flush=True); input()"


@contextlib.contextmanager
def running(directory, program, *arguments, **options):
    """A process of ours under that name, with those arguments; the arguments before them are Python's."""
    (directory / program).symlink_to(Path(sys.executable).resolve())
    command = [str(directory / program), "-S", "-E", "-c", WAIT, *arguments]
    with subprocess.Popen(command, stdin=-1, stdout=-1, **options) as process:
        process.stdout.readline()
        yield process
        process.kill()


def comm_of(pid):
    return (PROC / str(pid) / "comm").read_text(encoding="utf-8").rstrip("\n")


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("firecracker", ["--id", "web", "--api-sock", "/run/x.sock"], ("firecracker", "web", "web")),
        ("cloud-hypervisor", ["--api-socket", "/run/web.sock"], ("cloud-hypervisor", "web", "")),
        ("qemu-system-x86_64", ["-name", "guest=web", "-uuid", U], ("qemu", "web", U)),
    ],
)
def test_a_hypervisor_is_known_by_its_process(tmp_path, program, arguments, expected):
    """The kernel's name of it (15 bytes) and its command line give the machine and the owner."""
    with running(tmp_path, program, *arguments) as process:
        comm = comm_of(process.pid)
        assert candidates([comm]) == {comm}
        answer = ask(PROC, process.pid, start_ticks(process.pid))
        guest = recognised(comm, answer.arguments)
    assert (guest.hypervisor, guest.name, guest.key) == expected
    assert (answer.uid, answer.parent_pid) == (os.getuid(), os.getpid())


def test_the_owner_is_the_real_user(tmp_path):
    """Not the owner of /proc/PID, root for a process that may not be dumped, nor the effective user."""
    tmp_path.chmod(0o755)
    code = "import os; os.setresuid(60999, 0, 0); " + WAIT
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as process:
        process.stdout.readline()
        answer = ask(PROC, process.pid, start_ticks(process.pid))
        owner = (PROC / str(process.pid)).stat().st_uid
        process.kill()
    assert (answer.uid, owner) == (60999, 0)


def test_a_long_command_line_is_cut(tmp_path):
    """At 64 kB, in front of the argument that was cut."""
    with running(tmp_path, "firecracker", "--id", "web", "x" * 100_000) as process:
        answer = ask(PROC, process.pid, start_ticks(process.pid))
    assert sum(map(len, answer.arguments)) < COMMAND_LINE_BYTES_MAX
    assert answer.arguments[-2:] == ["--id", "web"]


def test_a_process_that_has_ended_is_not_asked(tmp_path):
    """Nor one whose pid is another's by now; one that was not waited for is not alive."""
    with running(tmp_path, "firecracker") as process:
        key = (process.pid, start_ticks(process.pid))
        assert is_alive(PROC, key)
        assert not is_alive(PROC, (key[0], key[1] - 2))
        assert ask(PROC, key[0], key[1] - 2) is procfs.Unread.GONE
        process.kill()
        while b") Z" not in (PROC / str(process.pid) / "stat").read_bytes():
            time.sleep(0.01)
        assert not is_alive(PROC, key)
        zombie = ask(PROC, *key)
        assert isinstance(zombie, Answer)
        assert zombie.arguments == []
    assert ask(PROC, *key) is procfs.Unread.GONE
    assert not is_alive(PROC, key)


def test_the_stage_finds_it(tmp_path):
    """From activity's row of a real process to the machine's row."""
    with running(tmp_path, "firecracker", "--id", "web", "--no-api") as process:
        row = (2, process.pid, start_ticks(process.pid), 0, comm_of(process.pid))
        frame = Stage(PROC).take(activity(time.monotonic_ns(), [row], {2: "/wattline-test"}))
    owner = f"@{os.getuid()}" if os.getuid() else ""
    assert frame.processes.vm_id == [f"firecracker-web{owner}"]
    assert (frame.machines.vm_name, frame.machines.hypervisor) == (["web"], ["firecracker"])
