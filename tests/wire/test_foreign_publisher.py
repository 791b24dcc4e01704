# SPDX-License-Identifier: Apache-2.0
"""A stage that knows only docs/wire.md is as good as ours: heard, read, and its lock respected."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from wattline.wire import shared
from wattline.wire.bus import Publisher, Subscriber, read_last
from wattline.wire.rundir import Lock, ServiceDirectory, lock_holder

from . import foreign_publisher

_PATIENCE_S = 20.0


@pytest.fixture
def foreign(run_directory):
    """The foreign publisher, running."""
    process = subprocess.Popen([sys.executable, foreign_publisher.__file__, str(run_directory), "n"])
    directory = ServiceDirectory(run_directory, "power")
    deadline_s = time.monotonic() + _PATIENCE_S
    while not (directory.last.exists() and directory.socket.exists()):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_a_foreign_publisher_is_heard(foreign, run_directory):
    """Its frames arrive in order, none is refused or lost, and its energy is what it says."""
    frames = []
    deadline_s = time.monotonic() + _PATIENCE_S
    with Subscriber(run_directory, ["power"]) as subscriber:
        while len(frames) < 10:
            assert foreign.poll() is None
            assert time.monotonic() < deadline_s
            subscriber.connect()
            subscriber.poll(100)
            frames += subscriber.receive()
        assert (subscriber.refused, subscriber.distrusted) == ({}, {})
    numbers = [frame.seq for frame in frames[1:]]  # the first came from `last`, before the connection stood
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    first, last = frames[0], frames[-1]
    spent_uj = last.zones.energy_uj[0] - first.zones.energy_uj[0]
    elapsed_ns = last.zones.mono_ns[0] - first.zones.mono_ns[0]
    assert abs(spent_uj * 100 - elapsed_ns) <= 100
    assert last.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_a_foreign_publishers_last_frame_is_read_and_written_on(foreign, run_directory):
    """Its `last` is whole at any time, also after its death, and one of ours goes on from it."""
    directory = ServiceDirectory(run_directory, "power")
    assert directory.distrust() is None
    seen = {read_last(directory).seq for _ in range(200)}
    foreign.kill()
    foreign.wait()
    frame = read_last(directory)
    assert frame.seq >= max(seen)
    (sequence, _), *_older = shared.slots(directory.last)
    publisher = Publisher(directory)
    assert read_last(directory) == frame
    publisher.publish(frame, is_state=True)
    publisher.close()
    assert shared.slots(directory.last)[0][0] == sequence + 1


def test_a_foreign_publisher_holds_ours_off(foreign, run_directory):
    """While it lives one of ours can't have the lock and knows who has it; then it can."""
    directory = ServiceDirectory(run_directory, "power")
    with Lock(directory.lock) as lock:
        assert not lock.acquire()
        assert lock_holder(directory.lock) == foreign.pid
        assert directory.pid.read_text(encoding="ascii") == f"{foreign.pid}\n"
        foreign.kill()
        foreign.wait()
        assert lock.acquire()
