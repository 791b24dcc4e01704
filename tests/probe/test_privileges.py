# SPDX-License-Identifier: Apache-2.0
"""The probe starts with two capabilities, gives up what it can, and falls back to /proc without them."""

import os
import time
from pathlib import Path

import pytest

from services.probe.capabilities import CAPABILITIES
from services.probe.ebpf.mounts import BPFFS, TRACEFS, have_mounted
from tests.load import in_cgroup
from tests.probe.rows import cgroup_value
from tests.probe.service import frame_after, start, stop

TWO = {"CAP_BPF", "CAP_PERFMON"}


def capabilities(pid: int, which="CapEff") -> set[str]:
    """Names of what any thread of a process holds, a number for one that the probe has no name for."""
    bits = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text(encoding="utf-8").splitlines()
        bits |= int(next(line for line in lines if line.startswith(which)).split()[1], 16)
    names = {bit: name for name, bit in CAPABILITIES.items()}
    return {names.get(bit, str(bit)) for bit in range(64) if bits >> bit & 1}


ONLY_TWO = ("setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all")
NONE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def test_two_capabilities_are_enough(run_directory, pin_path, cgroup):
    """With only CAP_BPF and CAP_PERFMON it loads, reads and unloads; while it reads it holds only CAP_BPF."""
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=ONLY_TWO)
    frame_after(run_directory, time.monotonic_ns())
    held = capabilities(probe.pid)
    with in_cgroup(cgroup, ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]) as process:
        process.wait(timeout=30)
    frame = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert probe.returncode == 0
    assert not pin_path.exists()
    assert held == {"CAP_BPF"}
    assert frame.source == "ebpf"
    assert cgroup_value(frame, cgroup) > 10_000_000


def test_counters_keep_one_more(run_directory, pin_path):
    """With counters CAP_PERFMON stays, for a CPU that is plugged in later needs new ones."""
    probe = start(run_directory, pin_path, "--probe.counters", "cpu_clock", prefix=ONLY_TWO)
    frame = frame_after(run_directory, time.monotonic_ns())
    held = capabilities(probe.pid)
    stop(probe)
    assert held == TWO
    assert frame.counters == ["cpu_clock"]


@pytest.mark.parametrize("which", ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"])
def test_root_gives_up_the_rest_for_good(run_directory, pin_path, which):
    """Started with everything, nothing but CAP_BPF is left in any set, nor a way to gain it back."""
    probe = start(run_directory, pin_path)
    frame_after(run_directory, time.monotonic_ns())
    held = capabilities(probe.pid, which)
    statuses = [path.read_text(encoding="utf-8") for path in Path(f"/proc/{probe.pid}/task").glob("*/status")]
    stop(probe)
    assert held <= {"CAP_BPF"}
    assert len(statuses) > 1  # ZeroMQ's are among them
    assert all("NoNewPrivs:\t1" in status for status in statuses)


def test_what_replaced_a_program_gives_up_the_rest_too(run_directory, pin_path):
    """Threads that published the replaced program's last frame do not keep what the probe gave up."""
    former = start(run_directory, pin_path, "--probe.keep")
    frame_after(run_directory, time.monotonic_ns())
    stop(former)
    probe = start(run_directory, pin_path, "--probe.process-rows", "4096")
    frame_after(run_directory, time.monotonic_ns() + 2_500_000_000)
    held = capabilities(probe.pid)
    output = stop(probe)
    assert "loaded" in output
    assert held == {"CAP_BPF"}


def test_a_cgroup_that_nobody_may_look_into_stops_nothing(run_directory, pin_path, cgroup):
    """A user's cgroup that is closed to others is left alone: the probe loads, ticks and lets go."""
    os.chown(cgroup, 60_998, 60_998)
    cgroup.chmod(0o700)
    probe = start(
        run_directory, pin_path, "--probe.backend", "ebpf", "--probe.ended-s", "0.2", prefix=ONLY_TWO
    )
    frame_after(run_directory, time.monotonic_ns())
    with in_cgroup(cgroup, ["true"]) as process:
        process.wait()
    time.sleep(7)  # a whole round of looking, at ten ticks a second
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert "unexpected" not in output
    assert process.pid not in frame.processes.pid
    rows = dict(zip(frame.paths.cgroup_id, frame.paths.removed, strict=True))
    assert rows[cgroup.stat().st_ino] == 0


def test_another_user_with_two_capabilities_will_do(run_directory, pin_path):
    """A user that is not root, given a directory for the pins and eyes for tracefs, runs it as well."""
    user = 60_998
    pin_path.mkdir()
    os.chown(pin_path, user, user)
    os.chown(run_directory, user, user)
    bpffs = pin_path.parent
    mode = bpffs.stat().st_mode
    bpffs.chmod(0o711)
    caps = "+bpf,+perfmon,+dac_read_search"  # bpffs and tracefs are root's alone here
    prefix = (
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        f"--inh-caps=-all,{caps}",
        f"--ambient-caps=-all,{caps}",
        f"--bounding-set=-all,{caps}",
    )
    try:
        probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=prefix)
        frame_after(run_directory, time.monotonic_ns())
        held = capabilities(probe.pid)
        stop(probe)
    finally:
        bpffs.chmod(mode)
    assert held == {"CAP_BPF"}
    assert probe.returncode == 0


def test_without_them_it_reads_proc_and_says_what_is_lost(run_directory, pin_path):
    """No capabilities: /proc, with one warning that names what is missing, what it costs and the cure."""
    probe = start(run_directory, pin_path, prefix=NONE)
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    warnings = [line for line in output.splitlines() if "WARNING" in line]
    assert frame.source == "procfs"
    assert len(warnings) == 1
    for word in ("no_ebpf", "CAP_PERFMON", "CAP_BPF", "as root", "10 ms"):
        assert word in warnings[0]
    assert {source.name: source.up for source in frame.sources} == {"procfs": True, "ebpf": False}


def test_ebpf_that_is_insisted_on_is_not_replaced(run_directory, pin_path):
    """Told to use eBPF it ends with 77 rather than with coarser figures."""
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=NONE)
    output, _errors = probe.communicate(timeout=20)
    assert probe.returncode == 77
    assert "CAP_BPF" in output


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("/sys/kernel/tracing", "mount -t tracefs tracefs /sys/kernel/tracing"),
        ("/sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf"),
    ],
)
def test_a_file_system_that_is_not_mounted_is_named(run_directory, lost, told):
    """As in a container, where it may not mount it itself: one warning with the command that cures it."""
    have_mounted("bpf", BPFFS)
    have_mounted("tracefs", TRACEFS)
    view = ("unshare", "-m", "sh", "-c", 'while umount "$0" 2>/dev/null; do :; done; exec "$@"', lost)
    # In the BPF file system's root, where the default is.
    pins = BPFFS / f"wattline-test-{os.getpid()}-unmounted"
    probe = start(run_directory, pins, prefix=(*view, *ONLY_TWO))
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    if pins.exists():
        pins.rmdir()
    (warning,) = (line for line in output.splitlines() if "WARNING" in line)
    assert "no_ebpf" in warning
    assert told in warning
    assert frame.source == "procfs"


def test_pins_outside_a_bpf_file_system_are_refused(run_directory, tmp_path):
    """A place where nothing can be pinned is named with what is there; it reads /proc instead."""
    probe = start(run_directory, tmp_path / "pins")
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert f"no BPF file system at {tmp_path}" in output
    assert "mount -t bpf bpf" in output
    assert frame.source == "procfs"


def test_without_bcc_it_reads_proc(run_directory, pin_path, tmp_path):
    """BCC missing is one more reason for /proc, told with the package to install."""
    # And it complains at length first, as the kernel does of a program that it refuses.
    stub = "import sys\nsys.stderr.write('x' * 1_000_000)\nraise ImportError('not installed')\n"
    (tmp_path / "bcc.py").write_text(stub, encoding="ascii")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    probe = start(run_directory, pin_path, env=environment)
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert frame.source == "procfs"
    assert "python3-bpfcc" in output


def test_procfs_can_be_asked_for(run_directory, pin_path, cgroup):
    """--probe.backend procfs asks for no privilege, loads nothing, and goes on in its epoch after a kill."""
    probe = start(run_directory, pin_path, "--probe.backend", "procfs")
    first = frame_after(run_directory, time.monotonic_ns())
    with in_cgroup(cgroup, ["sh", "-c", "while :; do :; done"]):
        time.sleep(0.5)
        probe.kill()
        probe.communicate()
        time.sleep(0.5)
        probe = start(run_directory, pin_path, "--probe.backend", "procfs")
        frame = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert not pin_path.exists()
    assert frame.epoch == first.epoch
    assert cgroup_value(frame, cgroup) > 500_000_000
