# SPDX-License-Identifier: Apache-2.0
"""The probe as a process: restarts, refusals, and what it leaves behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.load import SPIN, KernelAccount, in_cgroup
from tests.probe.rows import cgroup_value
from tests.probe.service import frame_after, start, stop
from wattline.wire.bus import Subscriber


def test_a_killed_reader_loses_no_time(run_directory, pin_path, cgroup):
    """After kill -9 the kernel goes on counting; the next reader has the same epoch and all of the time."""
    probe = start(run_directory, pin_path)
    command = [sys.executable, "-c", SPIN, "1.5"]
    first = frame_after(run_directory, time.monotonic_ns())
    kernel = KernelAccount(cgroup)
    with in_cgroup(cgroup, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        time.sleep(0.3)
        probe.kill()
        probe.communicate()
        assert process.stdout.readline() == b"done\n"
        probe = start(run_directory, pin_path)
        frame = frame_after(run_directory, time.monotonic_ns())
        assert kernel.agrees(cgroup_value(frame, cgroup), 0.005)
    output = stop(probe)
    assert "loaded" not in output
    assert frame.epoch == first.epoch
    assert frame.run != first.run


def test_a_clean_stop_unloads(run_directory, pin_path):
    """Nothing stays in the kernel, no socket, no pid file."""
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    assert any(pin_path.iterdir())
    stop(probe)
    assert probe.returncode == 0
    assert not pin_path.exists()
    assert {path.name for path in (run_directory / "probe").iterdir()} == {"last", "lock"}


def test_keep_leaves_the_kernel_counting(run_directory, pin_path):
    """With --probe.keep a stop is like a crash: the next probe goes on in the same epoch."""
    probe = start(run_directory, pin_path, "--probe.keep")
    first = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    probe = start(run_directory, pin_path)
    frame = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert frame.epoch == first.epoch


def test_a_half_loaded_program_is_removed(run_directory, pin_path):
    """What a loader left that was killed on its way is taken out of the kernel by the next probe."""
    (pin_path / "loading-1").mkdir(parents=True)
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    assert not (pin_path / "loading-1").exists()
    stop(probe)


def test_a_second_probe_is_refused(run_directory, pin_path, tmp_path):
    """Two probes on one kernel's pins would unload each other: the second ends, naming the first."""
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    second = start(tmp_path, pin_path)
    output, _errors = second.communicate(timeout=10)
    assert second.returncode == 1
    assert f"pid {probe.pid}" in output
    stop(probe)


def test_without_permission_it_says_so(run_directory, pin_path):
    """An unprivileged probe that is told to use eBPF ends with 77 and tells what it needs."""
    run_directory.chmod(0o1777)
    probe = start(run_directory, pin_path, "--user", "60999:60999", "--probe.backend", "ebpf")
    output, _errors = probe.communicate(timeout=10)
    assert probe.returncode == 77
    assert "root" in output


def test_the_reader_carries_no_compiler(run_directory, pin_path):
    """LLVM and BCC live in the short loader only."""
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    mapped = Path(f"/proc/{probe.pid}/maps").read_text(encoding="utf-8")
    stop(probe)
    assert "LLVM" not in mapped
    assert "libbcc" not in mapped


def test_other_peoples_pins_are_left_alone(run_directory, pin_path):
    """Only names that are ours are unloaded, whatever else is in the directory."""
    (pin_path / "somebody-elses").mkdir(parents=True)
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert [path.name for path in pin_path.iterdir()] == ["somebody-elses"]


def test_a_whole_file_system_is_no_place_for_pins(run_directory):
    """A pin path that is the mount itself is refused before anything is touched."""
    probe = start(run_directory, "/sys/fs/bpf")
    output, _errors = probe.communicate(timeout=10)
    assert probe.returncode in (77, 78)
    assert "pin-path" in output


def test_pins_that_are_half_removed_are_no_program(run_directory, pin_path, cgroup):
    """A program one of whose links is gone is not read, which would invent time, but loaded anew."""
    probe = start(run_directory, pin_path, "--probe.keep")
    first = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    (program,) = pin_path.iterdir()
    (program / "link_on_sched_switch").unlink()
    with in_cgroup(cgroup, ["sleep", "60"]):
        probe = start(run_directory, pin_path)
        time.sleep(1)
        frame = frame_after(run_directory, time.monotonic_ns() + 1_500_000_000)
    output = stop(probe)
    assert "loaded" in output
    assert "WARNING probe unreadable" in output  # unplanned: what it had counted is missing
    assert "pins are incomplete" in output
    assert frame.epoch > first.epoch
    assert cgroup_value(frame, cgroup) < 100_000_000


@pytest.mark.parametrize("backend", ["ebpf", "procfs"])
def test_a_stop_and_a_start_are_no_warning(run_directory, pin_path, backend):
    """Nothing went wrong, so nothing is said above level info."""
    for _start in range(2):
        probe = start(run_directory, pin_path, "--probe.backend", backend)
        frame_after(run_directory, time.monotonic_ns())
        output = stop(probe)
        assert probe.returncode == 0
        assert not [line for line in output.splitlines() if " INFO " not in line]


def test_a_damaged_count_is_a_warning(run_directory, pin_path):
    """What a killed probe left can't be continued from: the new count is a warning, with the reason."""
    probe = start(run_directory, pin_path, "--probe.backend", "procfs")
    frame_after(run_directory, time.monotonic_ns())
    probe.kill()
    probe.communicate()
    (run_directory / "probe" / "procfs_state").write_bytes(b"rubbish")
    probe = start(run_directory, pin_path, "--probe.backend", "procfs")
    frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert "WARNING probe new_count" in output
    assert "the earlier count can't be continued" in output


def test_what_found_no_room_is_told_and_counted(run_directory, pin_path, cgroup):
    """A process table too small: the log names the setting to raise, and status counts it as an error."""
    with Subscriber(run_directory, ["status"]) as subscriber:
        probe = start(run_directory, pin_path, "--probe.process-rows", "64")
        frame_after(run_directory, time.monotonic_ns())
        with in_cgroup(cgroup, ["sh", "-c", "for i in $(seq 200); do /bin/true; done"]) as shells:
            shells.wait()
        frame = frame_after(run_directory, time.monotonic_ns() + 300_000_000)
        subscriber.connect()
        time.sleep(0.5)
        subscriber.poll(1000)
        statuses = [status for status in subscriber.receive() if status.producer == "probe"]
        output = stop(probe)
    assert frame.losses["births"] > 100
    assert statuses[-1].errors["lost_births"] >= 1
    assert "raise --probe.process-rows" in output
