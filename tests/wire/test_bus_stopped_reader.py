# SPDX-License-Identifier: Apache-2.0
"""What a subscriber costs that has stopped reading."""

import resource
import subprocess
import sys
import time
from pathlib import Path

from wattline.wire.bus import Subscriber

from . import large_publisher

_ALLOWED_BYTES = 40_000_000  # where 500 frames of a megabyte would be 500
_PATIENCE_S = 60.0


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def test_a_stopped_subscriber_costs_both_sides_a_few_frames(run_directory):
    """While 500 frames of a megabyte go unread, neither side holds more than the high-water marks allow."""
    with subprocess.Popen(
        [sys.executable, large_publisher.__file__, str(run_directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as publisher:
        deadline_s = time.monotonic() + _PATIENCE_S
        with Subscriber(run_directory, ["activity"]) as subscriber:
            alive = 0
            while alive < 3:  # the first may be from `last`
                assert time.monotonic() < deadline_s
                subscriber.poll(10)
                subscriber.connect()
                alive += len(list(subscriber.receive()))
            before_bytes = resident_bytes()
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
            publisher_bytes = int(publisher.stdout.readline())
            subscriber_bytes = resident_bytes() - before_bytes
            assert publisher_bytes < _ALLOWED_BYTES
            assert subscriber_bytes < _ALLOWED_BYTES
            # When it reads again, it goes on.
            subscriber.poll(round(_PATIENCE_S * 1000))
            assert list(subscriber.receive())
        publisher.stdin.close()
        assert publisher.wait(_PATIENCE_S) == 0
