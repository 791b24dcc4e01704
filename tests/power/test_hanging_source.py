# SPDX-License-Identifier: Apache-2.0
"""The real service with a source that hangs: the others go on, it recovers, and the process ends in time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .world import RaplTree, rows

_DEADLINE_S = 20.0
_STOP_S = 2.0
FIFO_METER = Path(__file__).with_name("fifo_meter.py")


@pytest.fixture
def tree(tmp_path):
    tree = RaplTree(tmp_path / "sys")
    tree.zone("intel-rapl:0", "package-0", energy_uj=1_000_000)
    os.mkfifo(tree.sysfs / "fifo")
    return tree


@contextlib.contextmanager
def power(run_directory, tree, *flags):
    settings = ["--run", str(run_directory), "--interval-s", "0.1", "--path.sysfs", str(tree.sysfs), *flags]
    command = [sys.executable, "-m", "tests.power.extra_source", str(FIFO_METER), "worker", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def frame_when(run_directory, condition):
    """The service's last frame, once it is as wanted."""
    directory = ServiceDirectory(run_directory, "power")
    deadline_s = time.monotonic() + _DEADLINE_S
    while True:
        frame = read_last(directory)
        if frame is not None and condition(frame):
            return frame
        assert time.monotonic() < deadline_s, f"not so within {_DEADLINE_S} s: {frame}"
        time.sleep(0.02)


def state(frame, name):
    return next((state for state in frame.sources if state.name == name), None)


def is_hanging(frame):
    fifo = state(frame, "fifo")
    return fifo is not None and fifo.reason.startswith("no answer for")


def threads(process):
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def stopped_s(process):
    """How long the process took to end."""
    begun_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(_DEADLINE_S) == 0
    return time.monotonic() - begun_s


def test_a_source_that_hangs_for_ever(run_directory, tree):
    """It is said within seconds, RAPL is read at each tick, no thread is added, and the end comes."""
    with power(run_directory, tree) as process:
        first = frame_when(run_directory, lambda frame: ("package", "0") in rows(frame))
        count = threads(process)
        hung = frame_when(run_directory, is_hanging)
        assert not state(hung, "fifo").up
        assert state(hung, "rapl-sysfs").up
        later = frame_when(run_directory, lambda frame: frame.seq > hung.seq + 5)
        stretch_s = (later.mono_ns - first.mono_ns) / 1e9
        assert later.seq - first.seq > 0.7 * stretch_s / 0.1
        assert rows(later)["package", "0"]["mono_ns"] > rows(hung)["package", "0"]["mono_ns"]
        assert threads(process) == count
        assert stopped_s(process) < _STOP_S


def test_the_end_comes_before_the_deadline_too(run_directory, tree):
    """A call that has just begun holds the end up for a second at most."""
    with power(run_directory, tree) as process:
        frame_when(run_directory, lambda frame: ("package", "0") in rows(frame))
        assert stopped_s(process) < _STOP_S


def test_it_recovers_when_there_is_an_answer(run_directory, tree):
    """No restart: the call returns, its row is there with its own time and period, and the source is up."""
    with power(run_directory, tree, "--power.sources", "fifo,rapl-sysfs") as process:
        frame_when(run_directory, is_hanging)
        while not state(frame_when(run_directory, lambda _frame: True), "fifo").up:
            (tree.sysfs / "fifo").write_text("50000000\n", encoding="ascii")  # waits for a reader
        frame = frame_when(run_directory, lambda frame: ("platform", "0") in rows(frame))
        platform = rows(frame)["platform", "0"]
        assert platform["source"] == "fifo"
        assert platform["period_ns"] == 100_000_000
        assert platform["mono_ns"] < frame.mono_ns
        assert stopped_s(process) < _STOP_S
