# SPDX-License-Identifier: Apache-2.0
"""The probe starts with two capabilities, gives up what it can, and falls back to /proc without them."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.probe.ebpf.mounts import BPFFS, TRACEFS, have_mounted
from tests.hygiene.names import own_name
from tests.load import in_cgroup, kernel_cpu_us
from tests.probe.rows import cgroup_value, wait_for
from tests.probe.service import frame_after, start, stop
from wattline import isolated
from wattline.cli.readable_copy import code_for
from wattline.confine.capabilities import BITS

ROOT = Path(__file__).parents[2]
TWO = {"CAP_BPF", "CAP_PERFMON"}


def capabilities(pid: int, which="CapEff") -> set[str]:
    """Names of what any thread of a process holds, a number for one that the probe has no name for."""
    bits = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text(encoding="utf-8").splitlines()
        bits |= int(next(line for line in lines if line.startswith(which)).split()[1], 16)
    names = {bit: name for name, bit in BITS.items()}
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
    epoch = frame_after(run_directory, time.monotonic_ns()).epoch
    stop(former)
    probe = start(run_directory, pin_path, "--probe.process-rows", "4096")
    wait_for(lambda: frame_after(run_directory, time.monotonic_ns()).epoch != epoch, 60)
    frame_after(run_directory, time.monotonic_ns())
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


@pytest.fixture
def open_bpffs():
    """A BPF file system of our own through which other users may pass; the machine's stays as it is."""
    path = Path("/dev/shm") / own_name()  # noqa: S108
    path.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "bpf", "-o", "mode=0711", "bpf", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)
    path.rmdir()


def test_another_user_with_two_capabilities_will_do(run_directory, open_bpffs, readable_directory):
    """A user that is not root, given a directory for the pins and eyes for tracefs, runs it as well."""
    user = 60_998
    pin_path = open_bpffs / "wattline"
    pin_path.mkdir()
    os.chown(pin_path, user, user)
    os.chown(run_directory, user, user)
    caps = "+bpf,+perfmon,+dac_read_search"  # tracefs is root's alone here
    prefix = (
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        f"--inh-caps=-all,{caps}",
        f"--ambient-caps=-all,{caps}",
        f"--bounding-set=-all,{caps}",
    )
    # It gives up dac_read_search with the rest, and must be able to read its code without.
    code = code_for(user, user, print, readable_directory / "code")
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=prefix, code=code)
    frame_after(run_directory, time.monotonic_ns())
    held = capabilities(probe.pid)
    stop(probe)
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


def without(mount_point: Path) -> tuple[str, ...]:
    """A command that hides a mount from what it runs."""
    script = 'while umount "$0" 2>/dev/null; do :; done; exec "$@"'
    return ("unshare", "-m", "sh", "-c", script, str(mount_point))


def test_tracefs_is_not_needed(run_directory, pin_path):
    """Raw tracepoints are attached by bpf(2) alone: as in a container without the file system."""
    have_mounted("tracefs", TRACEFS)
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=(*without(TRACEFS), *ONLY_TWO))
    frame = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert frame.source == "ebpf"


def test_a_file_system_that_is_not_mounted_is_named(run_directory):
    """As in a container, where it may not mount it itself: one warning with the command that cures it."""
    have_mounted("bpf", BPFFS)
    # In the BPF file system's root, where the default is.
    pins = BPFFS / own_name()
    probe = start(run_directory, pins, prefix=(*without(BPFFS), *ONLY_TWO))
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert not pins.exists()
    (warning,) = (line for line in output.splitlines() if "WARNING" in line)
    assert "no_ebpf" in warning
    assert "mount -t bpf bpf /sys/fs/bpf" in warning
    assert frame.source == "procfs"


def test_pins_outside_a_bpf_file_system_are_refused(run_directory, tmp_path):
    """A place where nothing can be pinned is named with what is there; it reads /proc instead."""
    probe = start(run_directory, tmp_path / "pins")
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert not (tmp_path / "pins").exists()
    assert f"no BPF file system at {tmp_path}" in output
    assert "mount -t bpf bpf" in output
    assert frame.source == "procfs"


_COVERED = 'mount --bind "$1" /usr/lib/python3/dist-packages/bcc && shift && exec "$@"'


@pytest.fixture
def instead_of_bcc(tmp_path):
    """Gives the command to start a probe by that finds this code where the distribution has BCC."""

    def prefix(code: str) -> tuple[str, ...]:
        for name in ("__init__.py", "libbcc.py"):
            (tmp_path / name).write_text(code, encoding="ascii")
        return ("unshare", "--mount", "--propagation=private", "sh", "-c", _COVERED, "sh", str(tmp_path))

    return prefix


def test_without_bcc_it_reads_proc(run_directory, pin_path, instead_of_bcc):
    """BCC missing is one more reason for /proc, told with the package to install."""
    # And it complains at length first, as the kernel does of a program that it refuses.
    stub = "import sys\nsys.stderr.write('x' * 1_000_000)\nraise ImportError('not installed')\n"
    probe = start(run_directory, pin_path, prefix=instead_of_bcc(stub))
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert frame.source == "procfs"
    assert "python3-bpfcc" in output
    assert not pin_path.exists()


@pytest.mark.parametrize("backend", ["auto", "ebpf"])
def test_a_failed_start_leaves_no_directory(run_directory, pin_path, instead_of_bcc, backend):
    """Whether it goes on with /proc or ends: neither an empty directory nor a half-loaded program is left."""
    (pin_path / "loading-1").mkdir(parents=True)
    prefix = instead_of_bcc("raise ImportError('not installed')\n")
    probe = start(run_directory, pin_path, "--probe.backend", backend, prefix=prefix)
    if backend == "auto":
        frame_after(run_directory, time.monotonic_ns())
        assert not pin_path.exists()  # while it reads /proc as well
        stop(probe)
    else:
        probe.communicate(timeout=20)
        assert probe.returncode == 78
    assert not pin_path.exists()


def test_a_loader_that_is_killed_leaves_no_directory(run_directory, pin_path, instead_of_bcc):
    """As by the kernel when memory runs out: the probe ends, and what was half made goes."""
    stub = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    probe = start(run_directory, pin_path, prefix=instead_of_bcc(stub))
    output, _errors = probe.communicate(timeout=20)
    assert probe.returncode == 1
    assert "the loader was killed by signal 9" in output
    assert not pin_path.exists()


def test_what_others_keep_among_the_pins_survives_a_failed_start(run_directory, pin_path, instead_of_bcc):
    """A former version's program and a stranger's directory are not ours to remove where loading fails."""
    former = pin_path / "00000000-00000000-cpu_time"
    former.mkdir(parents=True)
    (pin_path / "somebody-elses").mkdir()
    probe = start(run_directory, pin_path, prefix=instead_of_bcc("raise ImportError('not installed')\n"))
    frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert {path.name for path in pin_path.iterdir()} == {former.name, "somebody-elses"}


def test_procfs_can_be_asked_for(run_directory, pin_path, cgroup):
    """--probe.backend procfs asks for no privilege, loads nothing, and goes on in its epoch after a kill."""
    probe = start(run_directory, pin_path, "--probe.backend", "procfs")
    first = frame_after(run_directory, time.monotonic_ns())
    with in_cgroup(cgroup, ["sh", "-c", "while :; do :; done"]):
        wait_for(lambda: kernel_cpu_us(cgroup) > 300_000)
        probe.kill()
        probe.communicate()
        wait_for(lambda: kernel_cpu_us(cgroup) > 600_000)
        probe = start(run_directory, pin_path, "--probe.backend", "procfs")
        frame = frame_after(run_directory, time.monotonic_ns())
    stop(probe)
    assert not pin_path.exists()
    assert frame.epoch == first.epoch
    assert cgroup_value(frame, cgroup) > 500_000_000


def test_a_probe_that_cannot_read_its_code_unloads_its_program(run_directory, pin_path, tmp_path):
    """Root without capabilities can't enter another user's home: it ends with 77 and leaves no pins."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in ("wattline", "services"):
        shutil.copytree(ROOT / name, home / name)
    os.chown(home, 60_999, 60_999)
    code = isolated.Code(sys.executable, home / "wattline/start.py")
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", code=code)
    output, _errors = probe.communicate(timeout=60)
    assert probe.returncode == 77, output
    assert "attached" in output
    assert "can't read the code it runs" in output
    assert not pin_path.exists()
