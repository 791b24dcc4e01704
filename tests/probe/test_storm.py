# SPDX-License-Identifier: Apache-2.0
"""A fork storm in a real container: all of its time, all of its names, whatever happens to the reader."""

import random
import threading
import time

import pytest

from tests.calculator.use import Usage
from tests.load import KernelAccount, never_idle, steal_ns
from tests.machine.container import Container
from tests.probe.rows import cgroup_value, processes, wait_for
from tests.probe.service import frame_after, start, stop
from wattline.wire.bus import Subscriber
from wattline.wire.frames import PROCESS_ENDED

MS = 1_000_000
SHELLS = 12_000
# By how much the two accounts of a storm may differ: the kernel charges each change of tasks a little
# otherwise, and a thousand a second are some 0.08 to 0.12 % of a CPU.
_AGREES_RATIO = 0.002
APART = ("taskset", "-c", "0")  # from the storm, which has CPU 1 for itself


def storm(shells: int) -> str:
    """A script that starts so many short shells, one after the other, and waits."""
    return f"i=0; while [ $i -lt {shells} ]; do sh -c :; i=$((i+1)); done; echo done; sleep 600"


def named_ends(sample, cgroup) -> int:
    """Ended processes of a cgroup that have a name and a start."""
    cgroup_id = cgroup.stat().st_ino
    return sum(
        row[0] == "sh" and row[1] > 0 and bool(row[2] & PROCESS_ENDED)
        for (row_id, _pid), rows in processes(sample).items()
        if row_id == cgroup_id
        for row in rows
    )


@pytest.mark.alone
def test_a_fork_storm_is_charged_and_named_whole(load_reader, tmp_path):
    """12,000 short shells: the container's row is the kernel's account to 0.2 %, and each has a named row."""
    reader = load_reader(process_rows=32768)
    steal_before_ns = steal_ns()
    with never_idle(1), Container(tmp_path, storm(SHELLS), cpu=1) as container:
        begun = time.monotonic()
        kernel = KernelAccount(container.cgroup, steal_before_ns)
        assert container.line() == "done\n"
        print(f"{SHELLS / (time.monotonic() - begun):.0f} shells a second")
        time.sleep(0.3)  # an end is told some 35 ms late, when the kernel frees the task
        for _tick in range(3):  # one that was missed is found by looking twice
            reader.sample()
            reader.retire(0)
        sample = reader.sample()
        agrees = kernel.agrees(cgroup_value(sample, container.cgroup), _AGREES_RATIO, slack_ns=MS)
        ends = named_ends(sample, container.cgroup)
    assert agrees
    assert ends == SHELLS
    assert not any(count for name, count in sample.losses.items() if name != "unseen_births")


@pytest.mark.alone
def test_a_storm_in_a_process_table_too_small_loses_names_only(load_reader, tmp_path):
    """With room for 64 processes the container still has all its time, and what found no room is counted."""
    reader = load_reader(process_rows=64)
    steal_before_ns = steal_ns()
    with never_idle(1), Container(tmp_path, storm(1_000), cpu=1) as container:
        kernel = KernelAccount(container.cgroup, steal_before_ns)
        assert container.line() == "done\n"
        sample = reader.sample()
        assert kernel.agrees(cgroup_value(sample, container.cgroup), _AGREES_RATIO, slack_ns=2 * MS)
    assert sample.losses["births"] > 800
    assert sample.losses["cgroup_updates"] == 0


@pytest.mark.e2e
@pytest.mark.alone
@pytest.mark.parametrize(("kills", "pause_s"), [(20, 0.3), (1, 30.0)])
def test_a_reader_killed_during_a_storm_loses_nothing(run_directory, pin_path, tmp_path, kills, pause_s):
    """kill -9 at random, frames dropped on purpose: use summed by a consumer is the kernel's account."""
    flags = ("--probe.process-rows", "65536")
    book, used_ns, dropped, stopping = Usage(), {}, 0, threading.Event()

    def consume():
        nonlocal dropped
        with Subscriber(run_directory, ["activity"]) as subscriber:
            while not stopping.is_set():
                subscriber.connect()
                subscriber.poll(50)
                for frame in subscriber.receive():
                    if random.random() < 0.5:
                        dropped += 1
                        continue
                    take(frame)

    def take(frame):
        use = book.advance(frame)
        for key, ns in use.used_ns.items() if use else ():
            used_ns[key[0]] = used_ns.get(key[0], 0) + ns

    probe = start(run_directory, pin_path, *flags, prefix=APART)
    first = frame_after(run_directory, time.monotonic_ns())
    consumer = threading.Thread(target=consume)
    consumer.start()
    steal_before_ns = steal_ns()
    try:
        with never_idle(1), Container(tmp_path, "while :; do sh -c :; done", cpu=1) as container:
            kernel = KernelAccount(container.cgroup, steal_before_ns)
            for _kill in range(kills):
                time.sleep(random.uniform(0.1, 0.6))
                probe.kill()
                probe.communicate()
                time.sleep(random.uniform(0, 2 * pause_s) if kills > 1 else pause_s)
                probe = start(run_directory, pin_path, *flags, prefix=APART)
                frame_after(run_directory, time.monotonic_ns())
            (container.cgroup / "cgroup.freeze").write_text("1", encoding="ascii")
            wait_for(lambda: "frozen 1" in (container.cgroup / "cgroup.events").read_text(encoding="ascii"))
            last = frame_after(run_directory, time.monotonic_ns())
            stopping.set()
            consumer.join()
            take(last)
            row_ns = cgroup_value(last, container.cgroup)
            cgroup_id = container.cgroup.stat().st_ino
            agrees = kernel.agrees(row_ns, _AGREES_RATIO, slack_ns=2 * MS)
    finally:
        stopping.set()
        consumer.join()
        output = stop(probe)
    print(f"{dropped} frames dropped; losses {last.losses}; names left {len(last.processes)}")
    assert "loaded" not in output
    assert last.epoch == first.epoch
    assert agrees
    # Not a nanosecond is lost or counted twice on the way through dropped frames and killed readers. (What
    # the process rows, read a moment later, were ahead by is owed to the cgroup's next window.)
    assert used_ns[cgroup_id] - book.owed.get(cgroup_id, 0) == row_ns
    assert last.losses["cgroup_updates"] == 0
