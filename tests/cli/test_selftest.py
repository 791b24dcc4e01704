# SPDX-License-Identifier: Apache-2.0
"""`wattline selftest` as its user meets it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from wattline.cgroup2 import whole_mount
from wattline.cli import selftest
from wattline.errors import Fatal
from wattline.mounts import mounts
from wattline.selftest import needs

COMMAND = [sys.executable, "-m", "wattline.cli", "selftest"]


def traces(pid):
    """What a self-test makes on a machine, by path, of the one with a process id."""
    cgroup2 = whole_mount(Path("/proc"))
    names = {
        cgroup2: f"wattline-selftest-{pid}*",
        Path("/dev/shm"): f"wl-selftest-{pid}-*",  # noqa: S108 looked at only
        Path("/sys/fs/bpf"): f"wl-selftest-{pid}-*",
        Path(tempfile.gettempdir()): f"wattline-selftest-{pid}-*",
    }
    found = {str(path) for directory, name in names.items() for path in directory.glob(name)}
    return found | {str(place) for place, _kind in mounts() if f"wattline-selftest-{pid}-" in str(place)}


def started(*flags):
    """The command in a session of its own; both of its outputs are one."""
    return subprocess.Popen(
        [*COMMAND, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_times_and_shares_as_typed():
    """What --for and --cpu-shares take."""
    assert [selftest.seconds(text) for text in ("20", "20s", "1.5m")] == [20, 20, 90]
    assert selftest.shares("10,30,60") == [0.1, 0.3, 0.6]


@pytest.mark.parametrize(
    "arguments", [["--for", "0s"], ["--for", "1h"], ["--cpu-shares", "10,,"], ["--cpu-shares", "120"]]
)
def test_what_makes_no_sense_is_a_wrong_flag(arguments, capsys):
    """Exit code 2, and what was expected."""
    with pytest.raises(SystemExit) as ended:
        selftest.main(arguments)
    assert ended.value.code == Fatal.USAGE
    assert "expected" in capsys.readouterr().err


def test_without_fuse_one_error_names_all_that_is_missing(monkeypatch):
    """/dev/fuse, fuse3, libfuse2 and fusepy, each with its cure."""
    monkeypatch.setattr(needs.shutil, "which", lambda _name: None)
    monkeypatch.setattr(needs.ctypes.util, "find_library", lambda _name: None)
    with pytest.raises(Fatal) as failed:
        needs.require_fuse()
    message = str(failed.value)
    missing = message.partition("missing:")[2]
    assert all(name in message for name in ("/dev/fuse", "fuse3", "libfuse2", "fusepy"))
    assert "apt install fuse3" in missing
    assert "apt install libfuse2" in missing
    assert "fusepy" not in missing


def test_without_root_it_says_so(monkeypatch):
    """Exit code 77."""
    monkeypatch.setattr(selftest.os, "geteuid", lambda: 1000)
    with pytest.raises(Fatal, match="expected root") as failed:
        selftest.main([])
    assert failed.value.exit_code == Fatal.PERMISSION


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("flags", "idle_lines"), [([], 3), (["--idle-given"], 0)])
def test_wattline_measures_a_known_machine(flags, idle_lines):
    """Shares, idle power and books are right, said so line by line; nothing stays behind.

    Idle power can be learned only where the machine has a quiet moment; given, the rest holds on a busy one.
    """
    process = started("--for", "20s", *flags)
    while not any("containers" in path for path in traces(process.pid)):
        assert process.poll() is None
        time.sleep(0.05)
    output, _ = process.communicate(timeout=280)
    print(output)
    lines = output.splitlines()
    passed = [line for line in lines if line.endswith("PASS")]
    assert not traces(process.pid)
    assert len([line for line in passed if line.startswith("node")]) == 3 + 1
    assert process.returncode == 0
    assert lines[-1] == "PASS"
    assert len(passed) == 2 * 4 + 3 + idle_lines + 1 + 1


@pytest.mark.e2e
@pytest.mark.parametrize("after_s", [0.5, 4, 12])
def test_ctrl_c_leaves_nothing(after_s):
    """Whenever it comes: no mount, cgroup, process, pin or directory."""
    process = started("--for", "60s")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    print(output)
    assert process.returncode == 1
    assert not traces(process.pid)
