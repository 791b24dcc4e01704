# SPDX-License-Identifier: Apache-2.0
import subprocess
from pathlib import Path

import pytest

from services.metadata import procfs

PROC = Path("/proc")


def start_ticks(pid):
    return int((PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])


@pytest.fixture
def process():
    with subprocess.Popen(["sleep", "60"]) as running:
        yield running
        running.kill()


def test_a_process_is_read(process):
    """The kernel's own file, of the process that is meant; a start that differs by a tick is the same."""
    start = start_ticks(process.pid)
    text = (PROC / str(process.pid) / "cgroup").read_text(encoding="utf-8")
    assert "0::/" in text
    for tick in (start - 1, start, start + 1):
        assert procfs.cgroups_of(PROC, process.pid, tick) == text


def test_another_process_with_its_pid_is_not_it(process):
    """A pid alone is no identity."""
    assert procfs.cgroups_of(PROC, process.pid, start_ticks(process.pid) - 2) is procfs.Unread.GONE


def test_a_process_that_is_gone_is_not_named(process):
    """Not being there any more is no error."""
    start = start_ticks(process.pid)
    process.kill()
    process.wait()
    assert procfs.cgroups_of(PROC, process.pid, start) is procfs.Unread.GONE


def test_a_process_that_goes_while_it_is_read_is_not_named(tmp_path):
    """Its cgroup was still there and its start is not."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text("1:cpu:/\n", encoding="ascii")
    assert procfs.cgroups_of(tmp_path, 7, 100) is procfs.Unread.GONE


def test_a_name_that_is_no_text_is_read(tmp_path):
    """Neither a cgroup's nor a process's name need be UTF-8, and a process's may look like the end of it."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_bytes(b"1:cpu:/\xff\r\n")
    (tmp_path / "7/stat").write_bytes(b"7 (a) R\xff 9 (b) S " + b"1 " * 18 + b"100 1\n")
    assert procfs.cgroups_of(tmp_path, 7, 100) == "1:cpu:/\\xff\r\n"


def test_our_own_cgroups():
    """As the kernel shows them; without a proc file system, nothing."""
    assert procfs.own_cgroups(PROC) == Path("/proc/self/cgroup").read_text(encoding="utf-8")
    assert procfs.own_cgroups(Path("/nowhere")) == ""


@pytest.mark.parametrize("stat", [b"", b"7 (a) S 1 1", b"7 (a) S " + b"x " * 30])
def test_what_is_no_stat_names_no_process(tmp_path, stat):
    """A start that can't be read is not this process's."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text("1:cpu:/\n", encoding="ascii")
    (tmp_path / "7/stat").write_bytes(stat)
    assert procfs.cgroups_of(tmp_path, 7, 100) is procfs.Unread.GONE
