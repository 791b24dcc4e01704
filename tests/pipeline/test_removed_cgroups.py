# SPDX-License-Identifier: Apache-2.0
"""What removed cgroups used, from the kernel to the books."""

import time
from itertools import count
from pathlib import Path

import pytest

from tests.load import in_cgroup
from wattline.wire.bus import Subscriber

from .services import frame_after, services

INTERVAL_S = 0.3
ENDED_S = 1  # how long the probe publishes what has ended
_SKEW_NS_MAX = 50_000_000  # processes are read a little after their cgroups; a busy machine takes its time
_WORK = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"


def short_lives(parent: Path, seconds: float) -> int:
    """Nested cgroups that are made, do some work and are removed, the outer ones right after the inner."""
    deadline = time.monotonic() + seconds
    for number in count():
        outer = parent / f"outer{number}"
        inner = outer / "inner"
        inner.mkdir(parents=True)
        for cgroup in (inner, outer):
            with in_cgroup(cgroup, ["sh", "-c", _WORK]) as process:
                process.wait()
            while True:
                try:
                    cgroup.rmdir()
                    break
                except OSError:  # the kernel is still putting the process away
                    time.sleep(0.001)
        if time.monotonic() > deadline:
            return number + 1
    raise AssertionError


@pytest.mark.e2e
def test_cpu_time_is_counted_once_however_cgroups_come_and_go(run_directory, pin_path, cgroup):
    """The books' CPU time is what the kernel has counted, through removals, and a calculator that was killed.

    It is away for longer than the probe publishes what has ended, and goes on from its ledger.
    """
    interval = {"interval_s": INTERVAL_S}
    with services() as start, Subscriber(run_directory, ["activity", "energy"]) as subscriber:
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, probe_ended_s=ENDED_S, **interval)
        frame_after(run_directory, "probe", begun_ns)
        start("services.metadata", run_directory, **interval)
        calculator = start("services.calculator", run_directory, **interval)
        charged_ns, departed, differences_ns = {}, 0, []

        def watch():
            nonlocal departed
            subscriber.connect()
            subscriber.poll(200)
            for frame in subscriber.receive():
                if frame.topic == "activity":
                    charged_ns[frame.mono_ns] = sum(frame.cgroups.cpu_ns)
                    departed = sum(frame.cgroups.flags)
                elif frame.activity_mono_ns in charged_ns:
                    taken_ns = sum(frame.containers.cpu_ns)
                    differences_ns.append(taken_ns - charged_ns[frame.activity_mono_ns])

        def live(seconds):
            deadline = time.monotonic() + seconds
            lives = 0
            while time.monotonic() < deadline:
                lives += short_lives(cgroup, 0.2)
                watch()
            return lives

        lives = live(5)
        calculator.kill()
        lives += live(3 * ENDED_S)
        calculator.start()
        before_restart = len(differences_ns)
        lives += live(5)
    print(f"{lives} lives, {departed} departed rows, differences {differences_ns} ns")
    assert departed > 0
    assert before_restart > 2
    assert len(differences_ns) > before_restart + 2
    # Only what processes had more than their cgroups when they were read, which the next frame takes back.
    assert all(0 <= difference_ns < _SKEW_NS_MAX for difference_ns in differences_ns)
