# SPDX-License-Identifier: Apache-2.0
"""Loads are as large as they are told, where they are told, and end with who started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wattline.cgroup2 import whole_mount
from wattline.selftest import cgroups, placing

CPUS = sorted(os.sched_getaffinity(0))


def test_loads_are_placed_where_least_is():
    """The largest first; each keeps its own container, in the order asked for, the fork storm the last."""
    containers = [cgroups.Cgroup(Path(name)) for name in "abcd"]
    loads = placing.placed([0.1, 0.3, 0.6], containers, [2, 5])
    assert [(load.kind, load.share_ratio, load.cpu) for load in loads] == [
        ("spin", 0.1, 5),
        ("spin", 0.3, 5),
        ("spin", 0.6, 2),
        ("storm", 0.2, 5),
    ]
    assert [load.cgroup.name for load in loads] == list("abcd")
    assert [load.who for load in loads][2:] == ["60% of CPU 2", "fork storm, 20% of CPU 5"]


@pytest.fixture
def container():
    with cgroups.containers(whole_mount(Path("/proc")), 1) as (container,):
        yield container


@pytest.mark.parametrize("kind", ["spin", "storm"])
def test_a_load_uses_its_share_and_stands_still_when_frozen(container, kind):
    """30 % of a CPU for a second by the kernel's account of its cgroup; frozen, nothing at all."""
    with placing.running() as processes:
        processes.start_loads([placing.Load("", kind, 0.3, CPUS[-1], container)])
        deadline_s = time.monotonic() + 10
        while container.cpu_ns() < 20_000_000:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        before_ns, before_s = container.cpu_ns(), time.monotonic()
        time.sleep(1)
        used_ratio = (container.cpu_ns() - before_ns) / 1e9 / (time.monotonic() - before_s)
        container.freeze(frozen=True)
        frozen_ns = container.cpu_ns()
        time.sleep(0.1)
        # The kernel may still be adding what it charged to a child that has just ended.
        assert container.cpu_ns() - frozen_ns < 1_000_000
        container.freeze(frozen=False)
    assert 0.2 < used_ratio < 0.4  # others may want the CPU as well, and a load catches up afterwards


def test_a_container_is_removed_with_whoever_is_in_it(container):
    """Also what is frozen in it; directories that were not there before go, too."""
    assert container.path.exists()
    existed = container.path.parent
    with cgroups.made(existed / "other" / "deeper") as other, placing.running() as processes:
        processes.start_loads([placing.Load("", "spin", 0.1, CPUS[-1], other)])
        while not other.cpu_ns():
            time.sleep(0.01)
        other.freeze(frozen=True)
        processes.start_loads([])
    assert not (existed / "other").exists()
    assert existed.exists()


def test_a_load_ends_with_who_started_it(container):
    """Even if that is killed."""
    starter = (
        "import sys, time; from pathlib import Path; from wattline.selftest import cgroups, placing\n"
        "load = placing.Load('', 'spin', 0.1, int(sys.argv[2]), cgroups.Cgroup(Path(sys.argv[1])))\n"
        "placing.Processes().start_loads([load])\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter, str(container.path), str(CPUS[-1])])
    members = container.path / "cgroup.procs"
    try:
        deadline_s = time.monotonic() + 10
        while not members.read_text(encoding="ascii"):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    while members.read_text(encoding="ascii"):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
