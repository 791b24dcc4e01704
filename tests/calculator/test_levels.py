# SPDX-License-Identifier: Apache-2.0
"""Processes, containers, pods and machines are exact sums; what has ended is kept, then folded."""

from services.calculator.rules import Rules

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S

A, B, C = "a" * 64, "b" * 64, "c" * 64
KEEP_S = 30
PLACES = {10: (A, "pod-1", ""), 11: (B, "pod-1", ""), 12: (C, "", "vm-1"), 13: ("", "", "vm-2")}


class Watched:
    """A machine with two containers in a pod, a machine in a container and one outside of any."""

    def __init__(self):
        self.machine = Paper(counts=False)
        for cgroup_id, owner in PLACES.items():
            self.machine.born(cgroup_id, ROOT, *owner)
        self.machine.meter("package", "0", 20, per_cpu_s=8)
        self.desk, self.watch = Desk(Rules(terminated_keep_ns=KEEP_S * S)), Watch()

    def seconds(self, count, *cgroup_ids):
        for _second in range(count):
            used = {((cgroup_id, 90 + cgroup_id, 7), 0): (0.25, 1, 1, 0) for cgroup_id in cgroup_ids}
            self.machine.run(S, {((ROOT, 2, 1), 0): (0.25, 1, 1, 0)} | used)
            for frame in (self.machine.metadata(), self.machine.activity(), self.machine.power()):
                if self.desk.take(frame):
                    self.watch.check(self.desk.tables())

    def by(self, name):
        return self.desk.dynamic_uj("package", by=name)


def test_levels_are_sums():
    """A pod is the sum of its containers, a machine that of what runs in it, wherever that is."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    containers, pods, vms = watched.by("container_id"), watched.by("pod_uid"), watched.by("vm_id")
    assert containers[A] + containers[B] == pods["pod-1"] > 0
    assert vms["vm-1"] == containers[C] > 0
    assert vms["vm-2"] > 0
    assert sum(containers.values()) == sum(pods.values()) == sum(vms.values())


def test_a_containers_name_stays_as_long_as_its_series():
    """Whatever metadata says or forgets later, and though the calculator is killed; all its rows have it."""
    watched = Watched()
    watched.machine.born(14, ROOT, A, "pod-1", "vm-3")
    watched.machine.called[A] = "web"
    watched.seconds(2, *PLACES)
    watched.machine.called[A] = "renamed"
    watched.desk.kill(watched.machine.metadata())
    watched.seconds(2, *PLACES, 14)
    watched.machine.called.clear()
    watched.seconds(2, *PLACES, 14)
    containers = watched.desk.tables()["containers"]
    names = sorted(zip(containers.container_id, containers.vm_id, containers.container_name, strict=True))
    assert names == [
        (A, "", "web"),
        (A, "vm-3", "web"),
        (B, "", ""),
        (C, "vm-1", ""),
        ("system_processes", "", ""),
        ("system_processes", "vm-2", ""),
    ]
    watched.machine.remove(10)
    watched.machine.remove(14)
    watched.seconds(2 * KEEP_S + 5, 11)  # the machine first, then the container
    assert watched.desk.tables()["containers"].container_name == []


def test_a_machine_that_ends_leaves_its_containers_name():
    """Kepler's series of a container have no label of a machine: they must not break."""
    watched = Watched()
    watched.machine.called[C] = "qemu"
    watched.seconds(2, *PLACES)
    watched.machine.called.clear()
    watched.machine.remove(12)
    rows = []
    for _second in range(2 * KEEP_S):
        watched.seconds(1, 11)
        containers = watched.desk.tables()["containers"]
        names = containers.container_name or [""] * len(containers)
        rows += [
            row for row in zip(containers.container_id, containers.vm_id, names, strict=False) if row[0] == C
        ]
    assert {row[1] for row in rows} == {"", "vm-1"}
    assert {row[2] for row in rows} == {"qemu"}


def test_a_name_that_is_awaited_is_taken():
    """An engine that was not to be asked at first: its row says that a name may come."""
    watched = Watched()
    watched.machine.called[B] = ""
    watched.machine.awaited.add(B)
    watched.seconds(2, *PLACES)
    containers = watched.desk.tables()["containers"]
    assert containers.container_name == []
    assert dict(zip(containers.container_id, containers.is_awaited, strict=True))[B] == 1
    watched.machine.called[B] = "db"
    watched.machine.awaited.clear()
    watched.seconds(2, *PLACES)
    containers = watched.desk.tables()["containers"]
    assert dict(zip(containers.container_id, containers.container_name, strict=True))[B] == "db"
    assert not any(containers.is_awaited)


def test_a_name_that_was_not_awaited_comes_too_late():
    """The container's series has been shown without a name: with one it would be another series."""
    watched = Watched()
    watched.seconds(2, *PLACES)
    watched.machine.called[B] = "db"
    watched.seconds(2, *PLACES)
    assert watched.desk.tables()["containers"].container_name == []


def test_an_ended_container_keeps_its_series_for_a_time_and_folds_into_its_pod():
    """Not until somebody reads it: for a set time. The pod's sum never falls."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    watched.machine.remove(10)
    watched.seconds(KEEP_S - 1, 11)
    assert watched.by("container_id")[A] > 0
    pod_uj = watched.by("pod_uid")["pod-1"]
    watched.seconds(5, 11)
    assert A not in watched.by("container_id")
    assert watched.by("container_id")["terminated"] > 0
    assert watched.by("pod_uid")["pod-1"] > pod_uj
    assert watched.by("pod_uid")["pod-1"] == (
        watched.by("container_id")[B] + watched.by("container_id")["terminated"]
    )


def test_an_ended_pod_folds_into_the_node():
    """When its last container has gone, and the time has passed twice, the pod's series ends."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    for cgroup_id in PLACES:
        watched.machine.remove(cgroup_id)
    before_uj = sum(watched.by("container_id").values())
    watched.seconds(2 * KEEP_S + 5)
    assert watched.by("pod_uid").keys() == {""}
    assert watched.by("vm_id").keys() == {""}
    assert watched.by("container_id").keys() == {"system_processes", "terminated"}
    assert sum(watched.by("container_id").values()) > before_uj
    assert len(watched.desk.state.workloads) == 2


def test_a_machine_outside_of_any_container_folds_into_the_system():
    """Its time was system_processes' all along: that sum does not fall when the machine's series ends."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    watched.machine.remove(13)
    watched.seconds(KEEP_S + 5, 10, 11, 12)
    assert "vm-2" not in watched.by("vm_id")
    assert "terminated" not in watched.by("container_id")


def test_a_container_that_comes_back_in_time_goes_on():
    """A container that is restarted has its id again: its series goes on where it was."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    watched.machine.remove(10)
    watched.seconds(KEEP_S // 2)
    before_uj = watched.by("container_id")[A]
    watched.machine.born(20, ROOT, A, "pod-1")
    watched.seconds(KEEP_S, 20)
    assert watched.by("container_id")[A] > before_uj
    assert "terminated" not in watched.by("container_id")


def test_machines_that_share_containers_end_together():
    """A machine's sum is of several containers: none of them is folded while another one is alive."""
    watched = Watched()
    owners = {30: (A, "", "vm-1"), 31: (B, "", "vm-1"), 32: (B, "", "vm-2"), 33: (C, "", "vm-2")}
    for cgroup_id, owner in owners.items():
        watched.machine.born(cgroup_id, ROOT, *owner)
    watched.seconds(10, *owners)
    for cgroup_id in (31, 32, 33):
        watched.machine.remove(cgroup_id)
    watched.seconds(2 * KEEP_S, 30)
    assert watched.by("vm_id")["vm-2"] > 0
    assert {A, B, C} <= watched.by("container_id").keys()


def test_the_dead_cost_nothing_for_ever():
    """After thousands of short containers, accounts are as many as there are live ones, and some."""
    watched = Watched()
    for number in range(300):
        watched.machine.born(1000 + number, ROOT, f"{number:064x}")
        watched.seconds(1, 1000 + number)
        watched.machine.remove(1000 + number)
    assert len(watched.desk.state.workloads) <= KEEP_S + 5
    assert watched.desk.state.accounts.capacity <= 512
