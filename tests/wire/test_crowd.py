# SPDX-License-Identifier: Apache-2.0
"""More connections than a publisher can hold."""

import contextlib
import resource
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from wattline import descriptors
from wattline.wire.bus import Subscriber
from wattline.wire.rundir import ServiceDirectory

_LIMIT = 2048
_CROWD = 1500


def few_descriptors():
    """As a shell has it: a low limit that may be raised, here to a higher one that is still low."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, _LIMIT))


@pytest.fixture
def publisher(run_directory):
    command = [sys.executable, "-m", "tests.wire.crowded_publisher", str(run_directory)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=few_descriptors
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def connect_many(path, count):
    """Connections that say nothing, each open until the stack closes."""
    stack = contextlib.ExitStack()
    for _number in range(count):
        one = stack.enter_context(socket.socket(socket.AF_UNIX))
        with contextlib.suppress(ConnectionRefusedError):  # it waited at a socket that was replaced just then
            one.connect(str(path))
    return stack


def test_a_crowd_does_not_end_a_publisher(run_directory, publisher):
    """It cuts all connections, says so, and goes on; a subscriber that was among them is back."""
    path = ServiceDirectory(run_directory, "probe").socket
    descriptors.raise_limit()
    with Subscriber(run_directory, {"activity"}) as subscriber:
        with connect_many(path, _CROWD):
            said = publisher.stdout.readline()
            assert said.startswith(f"connections_cut {path} has too many connections (more than 1024 desc")
            assert said.endswith("are open): made anew\n")
            before = newest(subscriber)
            deadline_s = time.monotonic() + 10
            while newest(subscriber) <= before:
                assert time.monotonic() < deadline_s
                assert publisher.poll() is None
        output, _errors = publisher.communicate(timeout=20)
    assert publisher.returncode == 0
    count, _open = output.split()
    assert int(count) < 1024  # some may have come after the cut, and not be gone yet


def newest(subscriber):
    """The number of the newest frame that came."""
    deadline_s = time.monotonic() + 10
    while not (frames := list(subscriber.receive())):
        assert time.monotonic() < deadline_s
        subscriber.poll(100)
    return frames[-1].seq


def test_the_limit_is_raised_as_far_as_is_allowed():
    """Not above what root has set, nor without end."""
    script = (
        "import resource, sys; from wattline import descriptors;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, int(sys.argv[1])));"
        "descriptors.raise_limit(); print(descriptors.limit(), descriptors.files_max())"
    )
    for hard, expected in ((400, "400 100"), (100, "100 25")):
        command = [sys.executable, "-c", script, str(hard)]
        assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == expected


def test_a_crowd_is_counted_where_the_kernel_tells_no_number(monkeypatch):
    """Before Linux 6.2 the directory's size is 0."""
    before = SimpleNamespace(stat=lambda: SimpleNamespace(st_size=0), iterdir=lambda: iter(range(30)))
    monkeypatch.setattr(descriptors, "_OPEN", before)
    for limit, expected in ((58, (30, 29)), (60, None)):
        monkeypatch.setattr(descriptors, "limit", lambda limit=limit: limit)
        assert descriptors.crowd() == expected
