# SPDX-License-Identifier: Apache-2.0
"""`wattline health` at the moment at which a frame arrives."""

import time

from wattline.cli import health
from wattline.wire.last import Heartbeat


def test_a_frame_that_arrives_while_it_looks_is_fresh(run_directory, monkeypatch):
    """The time is taken after the frame is read: a frame is never of the future."""

    def just_arrived(_directory):
        now_ns = time.monotonic_ns()
        return Heartbeat(now_ns, 1_000_000_000, now_ns)

    monkeypatch.setattr(health, "read_heartbeat", just_arrived)
    assert health.check(run_directory, "calculator", None) == 0
    assert health.check(run_directory, "calculator", 5.0) == 0
