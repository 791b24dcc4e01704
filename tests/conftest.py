# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all tests share: a run directory, a cgroup and a place for pins, each of our own.

tests/hygiene removes what a test leaves, and fails it.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from services.probe.ebpf.mounts import BPFFS, have_mounted
from wattline.mounts import mounts

from .hygiene import guard
from .hygiene.names import own_name

# How long an example takes says how busy the machine is; pytest's own timeout ends what hangs.
hypothesis.settings.register_profile(
    "wattline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("wattline")

_GRACE_S = 5.0  # a killed process may take this long to leave its cgroup


def pytest_configure(config: pytest.Config) -> None:
    """Have the guard at hand wherever this file is used; Ctrl-C reaches what tests start.

    A shell starts what is to run in the background with SIGINT ignored, and processes inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(guard, "hygiene")


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """A WATTLINE_RUN of our own, in shared memory and with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix=f"wl-{os.getpid()}-", dir="/dev/shm"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def readable_directory() -> Iterator[Path]:
    """A directory that every user can enter, for code that goes on as another user (tests/readable.py)."""
    path = Path(tempfile.mkdtemp(prefix=f"wl-{os.getpid()}-code-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup2 directory of our own; whoever is left in it at the end is killed."""
    path = next(place for place, kind in mounts() if kind == "cgroup2") / own_name()
    path.mkdir()
    yield path
    (path / "cgroup.kill").write_text("1", encoding="ascii")
    deadline_s = time.monotonic() + _GRACE_S
    while (path / "cgroup.procs").read_text(encoding="ascii") and time.monotonic() < deadline_s:
        time.sleep(0.02)
    with contextlib.suppress(OSError):  # the guard tells what is still in it
        path.rmdir()


@pytest.fixture
def pin_path() -> Iterator[Path]:
    """A place for eBPF pins of our own, so that a Wattline in use on this machine is left alone."""
    have_mounted("bpf", BPFFS)
    path = BPFFS / own_name()
    yield path
    shutil.rmtree(path, ignore_errors=True)
