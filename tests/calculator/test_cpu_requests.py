# SPDX-License-Identifier: Apache-2.0
"""The idle policy `requests`, formula 7 in docs/attribution.md: shares to the microjoule, or a reason."""

from itertools import accumulate, pairwise

import msgspec
import pytest

from services.calculator.loop import CalculatorStage
from services.calculator.rules import Rules
from services.calculator.settings import CalculatorSettings
from wattline.wire.columns import U32

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .runtime import runtime_of
from .world import S

A, B, C = "a" * 64, "b" * 64, "c" * 64
IDLE_UW = 19_999_999
IDLE_UJ = IDLE_UW  # of each second
MACHINES = ("vm-1", "vm-2")
# cgroup: container, machine, how many processes
PLACES = {10: (A, "", 1), 11: (B, "", 3), 12: (C, "", 1), 13: (A, "vm-1", 2), 14: (A, "vm-2", 1)}


class Node:
    """A with two virtual machines in it, B and C without, and a process of the host."""

    def __init__(self, requests_m, *, knows_requests=True):
        self.machine = Paper(counts=False, requests_m=requests_m, knows_requests=knows_requests)
        for cgroup_id, (container, vm_id, _count) in PLACES.items():
            self.machine.born(cgroup_id, ROOT, container, "", vm_id)
        self.machine.meter("package", "0", IDLE_UW / 1e6, per_cpu_s=8)
        rules = Rules(idle_policy="requests", fixed_idle_uw={"package": IDLE_UW})
        self.desk, self.watch = Desk(rules), Watch()

    def second(self, *, metadata=True):
        used = {((ROOT, 2, 1), 0): (0.1, 1, 1, 0)}
        for cgroup_id, (_container, _vm, count) in PLACES.items():
            used |= {((cgroup_id, 100 * cgroup_id + one, 7), 0): (0.1, 1, 1, 0) for one in range(count)}
        self.machine.run(S, used)
        frames = [self.machine.activity(), self.machine.power()]
        for frame in [self.machine.metadata(), *frames] if metadata else frames:
            if self.desk.take(frame):
                self.watch.check(self.desk.tables())

    def idle_uj(self):
        """By process, in canonical order: container, machine, pid."""
        tables = self.desk.tables()
        containers, processes = tables["containers"], tables["processes"]
        rows = zip(processes.container_row, processes.pid, processes.idle_uj[0], strict=True)
        return {
            (containers.container_id[row], containers.vm_id[row], pid): uj
            for row, pid, uj in sorted(
                rows, key=lambda one: (containers.container_id[one[0]], containers.vm_id[one[0]], one[1])
            )
            if containers.container_id[row] in (A, B, C)
        }

    def by_container(self):
        return {one: uj for one, uj in self.desk.idle_uj("package").items() if uj}

    def left_uj(self):
        return self.desk.left_uj("package", mode="idle")


def shares(whole_uj, weights):
    """Differences of ⌊E · W_k / W_n⌋, in whole numbers."""
    bounds = [0, *(whole_uj * one // sum(weights) for one in accumulate(weights))]
    return [after - before for before, after in pairwise(bounds)]


def law(requests_m, energy_uj=IDLE_UJ):
    """What each process is given: by container, then evenly by machine, then evenly by process."""
    given = {}
    for container, of_container_uj in zip(
        requests_m, shares(energy_uj, list(requests_m.values())), strict=True
    ):
        parts = sorted((vm, cgroup, count) for cgroup, (one, vm, count) in PLACES.items() if one == container)
        for (vm_id, cgroup_id, count), of_part_uj in zip(
            parts, shares(of_container_uj, [1] * len(parts)), strict=True
        ):
            for one, uj in enumerate(shares(of_part_uj, [1] * count)):
                given[container, vm_id, 100 * cgroup_id + one] = uj
    return given


@pytest.mark.parametrize(
    "requests_m",
    [
        {A: 500, B: 250, C: 0},
        {A: 333, B: 333, C: 333},
        {A: 1, B: 128_000, C: 7},
        {A: 0, B: 0, C: 2**32 - 1},
    ],
)
def test_shares_are_the_laws_to_the_microjoule(requests_m):
    """500m, 250m and none: two thirds, a third and nothing; the parts of a container get the same each."""
    node = Node(requests_m)
    node.second()
    assert node.idle_uj() == law(requests_m)
    assert sum(node.idle_uj().values()) == IDLE_UJ
    assert node.left_uj() == {}


def test_the_host_is_given_none():
    """Its processes request nothing."""
    node = Node({A: 500, B: 250, C: 0})
    node.second()
    assert node.by_container().keys() == {A, B}


def test_unknown_requests_leave_it_with_the_node():
    """With the reason `no_requests`, until metadata tells them; what was left then stays left."""
    node = Node({A: 500, B: 250}, knows_requests=False)
    node.second()
    assert node.left_uj() == {"no_requests": IDLE_UJ}
    assert node.by_container() == {}
    node.machine.knows_requests = True
    node.second()
    assert node.left_uj() == {"no_requests": IDLE_UJ}
    assert node.idle_uj() == law({A: 500, B: 250, C: 0})


def test_requests_that_change_count_from_then_on():
    """A request that was changed in place (Kubernetes 1.33) takes nothing back."""
    node = Node({A: 500, B: 250})
    node.second()
    node.machine.requests_m = {B: 400, C: 100}
    node.second()
    before, after = law({A: 500, B: 250, C: 0}), law({A: 0, B: 400, C: 100})
    assert node.idle_uj() == {one: before[one] + after[one] for one in before}


def test_a_request_that_comes_late_counts_from_then_on():
    """A container of which nothing is known yet is given nothing."""
    node = Node({B: 250})
    node.second()
    assert node.by_container() == {B: IDLE_UJ}
    node.machine.requests_m = {A: 750, B: 250}
    node.second()
    before, after = law({A: 0, B: 250, C: 0}), law({A: 750, B: 250, C: 0})
    assert node.idle_uj() == {one: before[one] + after[one] for one in before}


def test_a_metadata_that_lost_its_cluster_makes_them_unknown_again():
    """Its frames lack the column then: what it said before may be wrong by now."""
    node = Node({A: 500, B: 250})
    node.second()
    given = node.idle_uj()
    node.machine.knows_requests = False
    node.second()
    assert node.left_uj() == {"no_requests": IDLE_UJ}
    assert node.idle_uj() == given


def test_a_silent_metadata_changes_nothing():
    """What it said last goes on counting, also for a calculator that was killed meanwhile."""
    node = Node({A: 500, B: 250})
    node.second()
    node.second(metadata=False)
    node.desk.kill()
    node.second(metadata=False)
    assert node.left_uj() == {}
    assert node.idle_uj() == {one: 3 * uj for one, uj in law({A: 500, B: 250, C: 0}).items()}


def test_the_policy_no_longer_ends_the_calculator(tmp_path):
    """Without a metadata stage that tells requests it goes on."""
    paper = Paper(counts=False)
    paper.born(10, ROOT, A)
    stage = CalculatorStage(
        CalculatorSettings(idle_policy="requests"), runtime_of(paper, tmp_path / "ledger")
    )
    metadata = paper.metadata()
    without = msgspec.structs.replace(metadata.cgroups, cpu_request_m=U32())
    stage.on_frame(msgspec.structs.replace(metadata, cgroups=without))
    stage.close()
