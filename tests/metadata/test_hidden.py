# SPDX-License-Identifier: Apache-2.0
"""Processes that /proc hides from metadata are told apart from those that have ended, and it says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.metadata.hidden import explanation

from .test_procfs import start_ticks

A = "a1" * 32
UID = 60_998


@pytest.fixture
def process(cgroup):
    """A process of root's in a container's cgroup."""
    container = cgroup / f"docker-{A}.scope"
    container.mkdir()
    with subprocess.Popen(["sleep", "600"]) as running:
        (container / "cgroup.procs").write_text(str(running.pid), encoding="ascii")
        yield running
        running.kill()
    container.rmdir()


@pytest.fixture
def metadata(readable_directory):
    """Start metadata on a proc file system with these options; gives what sends a frame, and its process."""
    started = []
    place = readable_directory / "proc"
    place.mkdir(exist_ok=True)

    def begin(options: str):
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m"]
        stage = subprocess.Popen(
            [*command, "tests.metadata.hidden_stage", str(place), options, str(UID)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(stage)

        def frame(pid: int, start: int):
            stage.stdin.write(f"{pid} {start}\n")
            stage.stdin.flush()
            return json.loads(stage.stdout.readline())

        return frame, stage, place

    yield begin
    for stage in started:
        stage.stdin.close()
        stage.stdout.close()
        assert stage.wait(timeout=20) == 0


def remount(stage: subprocess.Popen, place: Path, options: str) -> None:
    """As an administrator does it, in the stage's mount namespace."""
    subprocess.run(
        ["nsenter", "-t", str(stage.pid), "-m", "mount", "-o", f"remount,{options}", str(place)], check=True
    )


@pytest.mark.parametrize("level", ["1", "2"])
def test_hidden_processes_are_said_and_come_back(process, metadata, level):
    """One line with how many and the cure; after the remount it names, their containers are known."""
    start = start_ticks(process.pid)
    frame, stage, place = metadata(f"hidepid={level}")
    for _frame in range(2):
        container, (up, reason), said = frame(process.pid, start)
        assert (container, up) == (None, False)
        assert "1 process is hidden from metadata" in reason
        assert f"mount -o remount,gid={UID} {place}" in reason
        assert len(said) == 1
        assert "WARNING" in said[0]
    remount(stage, place, f"gid={UID}")
    container, (up, reason), said = frame(process.pid, start)
    assert (container, up, reason) == (A, True, "")
    assert "processes_visible" in said[-1]


def test_a_process_that_has_ended_is_not_hidden(process, metadata):
    """With hidepid=2 both look the same in /proc; only a process that lives is called hidden."""
    start = start_ticks(process.pid)
    process.kill()
    process.wait()
    frame, _stage, _place = metadata("hidepid=2")
    assert frame(process.pid, start) == [None, [True, ""], []]


def test_hidden_processes_that_end_make_none_visible(process, metadata):
    """Short processes come and go: one line in all, and the source stays down until one can be read."""
    start = start_ticks(process.pid)
    frame, stage, place = metadata("hidepid=2")
    assert frame(process.pid, start)[1][0] is False
    process.kill()
    process.wait()
    for _frame in range(2):
        _container, (up, reason), said = frame(process.pid, start)
        assert not up
        assert "hidden from metadata" in reason
        assert len(said) == 1
        with subprocess.Popen(["sleep", "600"]) as another:
            assert frame(another.pid, start_ticks(another.pid))[1][0] is False
            another.kill()
        assert len(frame(another.pid, 1)[2]) == 1
    remount(stage, place, f"gid={UID}")
    _container, (up, reason), said = frame(process.pid, start)
    assert (up, reason) == (True, "")
    assert "processes_visible" in said[-1]


@pytest.mark.parametrize(
    ("options", "told", "not_told"),
    [
        (("rw", "hidepid=invisible"), ("hidepid=invisible", "remount,gid=7 /p", "--path.procfs"), ()),
        (("rw", "gid=5", "hidepid=2"), ("hidepid=2", "remount,gid=7 /p"), ()),
        (("rw", "hidepid=ptraceable"), ("hidepid=ptraceable", "--path.procfs"), ("gid=",)),
        ((), ("hidden from metadata by /p,", "remount,gid=7 /p"), ("hidepid",)),
    ],
)
def test_the_cure_fits_the_mount(options, told, not_told):
    """A group is no cure where only who may trace a process sees it."""
    text = explanation(3, Path("/p"), options, 7)
    assert text.startswith("3 processes are hidden")
    assert [word for word in told if word not in text] == []
    assert [word for word in not_told if word in text] == []
