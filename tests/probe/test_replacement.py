# SPDX-License-Identifier: Apache-2.0
"""A new version of the program takes over from the old one; loaders that die leave nothing behind."""

import random
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from services.probe.ebpf import layout
from tests.load import SPIN, KernelAccount, in_cgroup
from tests.probe.bpf_objects import own_sizes, programs_of
from tests.probe.conftest import program
from tests.probe.rows import cgroup_value, wait_for
from tests.probe.service import frame_after, start, stop
from wattline.wire.bus import Subscriber

MS = 1_000_000
OLD, NEW = own_sizes(4096), own_sizes(8192)


def flags(sizes):
    """Table sizes as the probe is told them."""
    return [word for name, rows in sizes.items() for word in (f"--probe.{name.replace('_', '-')}", str(rows))]


@pytest.fixture
def listen(run_directory):
    """Everything that is published as activity from now on."""
    frames, stopping = [], threading.Event()

    def take():
        with Subscriber(run_directory, ["activity"]) as subscriber:
            while not stopping.is_set():
                subscriber.connect()
                subscriber.poll(50)
                frames.extend(subscriber.receive())

    thread = threading.Thread(target=take)
    thread.start()
    yield frames
    stopping.set()
    thread.join()


def test_a_new_version_reads_the_old_one_once_more(run_directory, pin_path, cgroup, listen):
    """The new probe publishes the old program's last counts in the old epoch, then begins another at once."""
    old = start(run_directory, pin_path, *flags(OLD))
    first = frame_after(run_directory, time.monotonic_ns())
    assert len(programs_of(OLD)) == 1
    kernel = KernelAccount(cgroup)
    with in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]):
        time.sleep(0.5)
        old.kill()
        old.communicate()
        time.sleep(1.0)  # nobody reads, the kernel counts
        new = start(run_directory, pin_path, *flags(NEW))
        while frame_after(run_directory, 0).epoch == first.epoch:
            time.sleep(0.02)  # it loads, which may take its time on a busy machine
        frame_after(run_directory, time.monotonic_ns() + 300 * MS)
        programs = programs_of(OLD), programs_of(NEW)
        output = stop(new)
        last_frame = frame_after(run_directory, 0)
        kernel_ns = kernel.used_ns()
        since_ns = time.monotonic_ns() - last_frame.mono_ns  # it spins on
    by_epoch = {
        epoch: [frame for frame in listen if frame.epoch == epoch]
        for epoch in (first.epoch, last_frame.epoch)
    }
    last_of_old, first_of_new = by_epoch[first.epoch][-1], by_epoch[last_frame.epoch][0]
    assert "loaded" in output
    assert [len(found) for found in programs] == [0, 1]
    assert last_of_old.run == first_of_new.run
    gap_ns = first_of_new.epoch - last_of_old.mono_ns
    print(f"nobody counted for {gap_ns / MS:.1f} ms")
    assert 0 < gap_ns < 10_000 * MS
    counted_ns = cgroup_value(last_of_old, cgroup) + cgroup_value(last_frame, cgroup)
    assert counted_ns > kernel_ns - gap_ns - since_ns - 50 * MS
    assert counted_ns <= kernel_ns * 1.2 + 200 * MS


def test_pins_of_another_layout_are_said_and_removed(run_directory, pin_path):
    """What can't be read is told, taken out of the kernel, and does not stop the new one."""
    (pin_path / "00000000-00000000-cpu_time").mkdir(parents=True)
    (pin_path / "0badcafe-32768-8192").mkdir()
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    names = sorted(path.name for path in pin_path.iterdir())
    output = stop(probe)
    assert "unreadable" in output  # equal events are told once a minute
    assert len(names) == 1


def test_a_loader_killed_at_any_moment_is_cleaned_up(run_directory, pin_path):
    """kill -9 of the loader while it compiles, attaches or pins: the next probe finds a clean kernel."""
    pin_path.mkdir()
    wanted = program(**OLD)
    command = [sys.executable, "-m", "services.probe.ebpf.load", str(pin_path / wanted.pin_name)]
    half_done, until = 0, time.monotonic() + 120  # on a busy machine many are done before they are killed
    while half_done < 4 and time.monotonic() < until:
        loader = subprocess.Popen(
            [*command, msgspec.json.encode(wanted).decode()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert loader.stdout.readline() == b"compiled\n"
        loader.stdin.write(b"attach\n")
        loader.stdin.flush()
        deadline = time.monotonic() + 10
        staging = pin_path / f"loading-{loader.pid}"
        pins = random.randrange(1, len(layout.MAPS) + len(layout.RAW_TRACEPOINTS) + len(layout.TRACEPOINTS))
        while loader.poll() is None and time.monotonic() < deadline:
            if len(list(staging.glob("*"))) >= pins:  # none once it is renamed
                break
        loader.kill()
        loader.communicate()
        half_done += staging.exists()
    assert half_done > 3, "no loader was caught in the middle of pinning"
    probe = start(run_directory, pin_path, *flags(NEW))
    frame_after(run_directory, time.monotonic_ns())
    wait_for(lambda: not list(pin_path.glob("loading*")))
    wait_for(lambda: not programs_of(OLD))  # freed a little later
    assert len(programs_of(NEW)) == 1
    stop(probe)
    wait_for(lambda: not programs_of(NEW))


def test_a_probe_killed_while_it_loads_leaves_no_loader(pin_path):
    """The loader that waits for the word of a probe that has died ends without attaching."""
    pin_path.mkdir()
    wanted = program(**OLD)
    loader = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "services.probe.ebpf.load",
            str(pin_path / wanted.pin_name),
            msgspec.json.encode(wanted).decode(),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert loader.stdout.readline() == b"compiled\n"
    loader.stdin.close()  # as when the probe dies
    assert loader.wait(timeout=20) == 0
    loader.stdout.close()
    assert list(pin_path.iterdir()) == []
    wait_for(lambda: not programs_of(OLD))
