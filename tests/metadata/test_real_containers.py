# SPDX-License-Identifier: Apache-2.0
"""Containers on the real kernel: by cgroup2, and those that only cgroup v1 knows."""

import time
from pathlib import Path

from services.calculator.names import Names
from services.calculator.workloads import SYSTEM
from tests.machine.cgroup1_container import Cgroup1Container
from tests.machine.container import Container

from .machine import ROOT, Stage, activity, own_containers

PROC = Path("/proc")


def row(pid, cgroup_id):
    """A process as activity lists it."""
    stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    command, _, rest = stat.rpartition(")")
    return (cgroup_id, pid, int(rest.split()[19]), 0, command.partition("(")[2])


def owner_of(answer, key):
    """Whose account the calculator gives a row's use to."""
    names = Names()
    names.take_metadata(answer)
    return names.owner(*key, is_kernel=False)


def test_a_container_of_cgroup1_is_told_by_its_processes(tmp_path):
    """All its processes are in cgroup2's root: metadata names each, the calculator charges the container."""
    with Cgroup1Container(tmp_path, "sleep 3600 & exec sleep 3600") as container:
        deadline_s = time.monotonic() + 20
        while len(pids := container.pids()) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        for pid in pids:
            assert (PROC / str(pid) / "cgroup").read_text(encoding="ascii").endswith("0::/\n")
        rows = [row(pid, ROOT) for pid in (1, *pids)]
        answer = Stage(PROC).take(activity(1, rows))
    assert own_containers(answer) == dict.fromkeys(pids, container.container_id)
    accounts = {key[1]: owner_of(answer, key[:3]) for key in rows}
    assert accounts.pop(1).container_id == SYSTEM
    assert {account.container_id for account in accounts.values()} == {container.container_id}
    assert {account.runtime for account in accounts.values()} == {"docker"}


def test_a_container_of_cgroup2_is_told_by_its_cgroup(tmp_path):
    """Without the kernel's word in the frame the tree is walked, and no process is asked."""
    with Container(tmp_path, "exec sleep 3600") as container:
        cgroup_id = container.cgroup.stat().st_ino
        (pid,) = (container.cgroup / "cgroup.procs").read_text(encoding="ascii").split()
        key = row(int(pid), cgroup_id)
        answer = Stage(PROC).take(activity(1, [key]))
    assert own_containers(answer) == {}
    assert owner_of(answer, key[:3]).container_id == container.container_id
