# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a run directory in shared memory, and a check that nothing is left behind."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from services.probe.ebpf.mounts import BPFFS, have_mounted

# How long an example takes says how busy the machine is; pytest's own timeout ends what hangs.
hypothesis.settings.register_profile(
    "wattline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("wattline")

_GRACE_S = 5.0  # a stopped process or socket may take this long to be gone


def _children() -> dict[int, str]:
    """Command by process id, of the processes this one started, the dead not waited for included."""
    found = {}
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended while we looked
            if path.name.isdecimal():
                stat = (path / "stat").read_text(encoding="utf-8", errors="replace")
                command, _, rest = stat.rpartition(")")
                if int(rest.split()[1]) == os.getpid():
                    found[int(path.name)] = command.partition("(")[2]
    return found


def _bound_sockets(below: Path) -> list[str]:
    """Paths below a directory at which a socket of a living process is bound."""
    words = (line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:])
    return [fields[7] for fields in words if len(fields) > 7 and fields[7].startswith(f"{below}/")]


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """Fail the test that leaves a child process behind."""
    before = _children()
    yield
    deadline_s = time.monotonic() + _GRACE_S
    while left := {pid: command for pid, command in _children().items() if pid not in before}:
        if time.monotonic() > deadline_s:
            pytest.fail(f"child processes left behind: {left}")
        time.sleep(0.02)


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """A WATTLINE_RUN of our own, in shared memory and with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="wl-", dir="/dev/shm"))
    path.chmod(0o755)
    try:
        yield path
        deadline_s = time.monotonic() + _GRACE_S
        while bound := _bound_sockets(path):
            if time.monotonic() > deadline_s:
                pytest.fail(f"sockets left open: {bound}")
            time.sleep(0.02)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup2 directory of our own; whoever is left in it at the end is killed."""
    mount = next(
        Path(words[1])
        for words in map(str.split, Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines())
        if words[2] == "cgroup2"
    )
    path = mount / f"wattline-test-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    yield path
    (path / "cgroup.kill").write_text("1", encoding="ascii")
    deadline_s = time.monotonic() + _GRACE_S
    while (path / "cgroup.procs").read_text(encoding="ascii"):
        if time.monotonic() > deadline_s:
            pytest.fail(f"processes left in {path}")
        time.sleep(0.02)
    path.rmdir()


@pytest.fixture
def pin_path() -> Iterator[Path]:
    """A place for eBPF pins of our own, so that a Wattline in use on this machine is left alone."""
    have_mounted("bpf", BPFFS)
    path = BPFFS / f"wattline-test-{os.getpid()}-{time.monotonic_ns()}"
    yield path
    shutil.rmtree(path, ignore_errors=True)
