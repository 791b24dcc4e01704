# SPDX-License-Identifier: Apache-2.0
"""What machines are called: told once, when all is known, and never changed."""

import pytest

from services.metadata.cgroup_path import CgroupIdentity
from services.metadata.cluster.pod import Pod
from services.metadata.machines.guest import Guest
from services.metadata.machines.names import SETTLE_NS, MachineNames

U = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
A, POD_UID = "a1" * 32, "01234567-89ab-cdef-0123-456789abcdef"
WEB = Guest("qemu", "web", U, U)
OUTSIDE = CgroupIdentity(vm_id="x")
IN_POD = CgroupIdentity(container_id=A, runtime="containerd", pod_uid=POD_UID, vm_id="x")
LAUNCHER = Pod(POD_UID, POD_UID, "virt-launcher-testvm-abcde", "default", kubevirt_vm="testvm")
PODS, NO_POD = {POD_UID: LAUNCHER}.get, {}.get


def rows(names):
    """The table by id."""
    table = names.table()
    empty = [""] * len(table)
    columns = (table.vm_name, table.namespace or empty, table.uuid or empty, table.hypervisor or empty)
    return dict(zip(table.vm_id, zip(*columns, strict=True), strict=True))


def test_a_machine_is_called_as_its_process_says():
    """At once, since the process has told; optional columns without anything in them are absent."""
    names = MachineNames()
    names.tell("machine-qemu-1-web", WEB)
    names.look({"machine-qemu-1-web": OUTSIDE}, 0, NO_POD)
    assert rows(names) == {"machine-qemu-1-web": ("web", "", U, "qemu")}
    assert names.table().namespace == []


@pytest.mark.parametrize(
    ("machine_id", "expected"),
    [
        ("machine-qemu-1-web", ("web", "", "", "qemu")),
        ("machine-qemu-vm1", ("vm1", "", "", "qemu")),
        ("machine-qemu-12-a-1", ("a-1", "", "", "qemu")),
        ("machine-qemu-1-web@1000", ("", "", "", "qemu")),
        ("qemu-101", ("", "", "", "qemu")),
        ("jailer-web", ("web", "", "", "firecracker")),
        ("jailer-web\n", ("web\\x0a", "", "", "firecracker")),
        ("other", ("", "", "", "")),
    ],
)
def test_without_a_process_the_path_has_to_do(machine_id, expected):
    """After ten seconds: the process may not have run the hypervisor before, and the row must not change."""
    names = MachineNames()
    names.look({machine_id: OUTSIDE}, 7, NO_POD)
    names.look({machine_id: OUTSIDE}, 7 + SETTLE_NS - 1, NO_POD)
    assert rows(names) == {}
    names.look({machine_id: OUTSIDE}, 7 + SETTLE_NS, NO_POD)
    assert [*rows(names).values()] == [expected]


def test_what_was_said_stays():
    """A process that comes late, another one, or another name change nothing."""
    names = MachineNames()
    for now_ns in (0, SETTLE_NS):
        names.look({"machine-qemu-1-web": OUTSIDE}, now_ns, NO_POD)
    names.tell("machine-qemu-1-web", Guest("qemu", "db", U, U))
    names.look({"machine-qemu-1-web": OUTSIDE}, SETTLE_NS + 1, PODS)
    assert rows(names)["machine-qemu-1-web"] == ("web", "", "", "qemu")


def test_the_first_process_counts():
    """What runs beside the hypervisor in a machine's cgroup has no say."""
    names = MachineNames()
    names.tell("x", WEB)
    names.tell("x", Guest("qemu", "db"))
    names.look({"x": OUTSIDE}, 0, NO_POD)
    assert rows(names)["x"][0] == "web"


def test_kubevirt_names_its_machines():
    """By the pod: its name and namespace instead of the one name that QEMU has, `default_testvm`."""
    names = MachineNames()
    names.tell("x", Guest("qemu", "default_testvm", U, U))
    names.look({"x": IN_POD}, 0, NO_POD, awaited={POD_UID})
    assert rows(names) == {}
    names.look({"x": IN_POD}, 10 * SETTLE_NS, NO_POD, awaited={POD_UID})
    assert rows(names) == {}
    names.look({"x": IN_POD}, 10 * SETTLE_NS, PODS)
    assert rows(names) == {"x": ("testvm", "default", U, "qemu")}


def test_without_an_answer_qemus_name_has_to_do():
    """Once the pod isn't awaited any more; and it stays, though the pod becomes known."""
    names = MachineNames()
    names.tell("x", Guest("qemu", "default_testvm", U, U))
    names.look({"x": IN_POD}, 0, NO_POD)
    names.look({"x": IN_POD}, 1, PODS)
    assert rows(names) == {"x": ("default_testvm", "", U, "qemu")}


def test_a_pod_of_another_kind_names_no_machine():
    """A guest in a pod without KubeVirt (Kata) has its own name, and no namespace."""
    names = MachineNames()
    names.tell("x", WEB)
    names.look({"x": IN_POD}, 0, {POD_UID: Pod(POD_UID, POD_UID, "web-1", "shop")}.get)
    assert rows(names) == {"x": ("web", "", U, "qemu")}


@pytest.mark.parametrize(
    "place",
    [
        CgroupIdentity(container_id=f"{A}@1000", pod_uid=POD_UID),
        CgroupIdentity(container_id=A, pod_uid=f"{POD_UID}@1000"),
        CgroupIdentity(pod_uid=POD_UID),
    ],
)
def test_a_users_cgroup_gets_no_name_of_the_cluster(place):
    """Anybody can make a cgroup with a pod's uid in its name."""
    names = MachineNames()
    names.tell("x", WEB)
    names.look({"x": place}, 0, PODS)
    assert rows(names) == {"x": ("web", "", U, "qemu")}


def test_a_previous_runs_word_stays():
    """After a restart of metadata the row is what it was, whatever would be said now."""
    before = MachineNames()
    before.tell("x", Guest("qemu", "default_testvm", U, U))
    before.look({"x": IN_POD}, 0, NO_POD)
    names = MachineNames()
    names.resume(before.table())
    names.tell("x", WEB)
    names.look({"x": IN_POD}, 0, PODS)
    assert rows(names) == rows(before)
    names.look({}, 1, NO_POD)
    assert rows(names) == {}


def test_what_is_not_there_any_more_is_dropped():
    """The table is as long as there are machines."""
    names = MachineNames()
    names.tell("x", WEB)
    names.look({"x": OUTSIDE}, 0, NO_POD)
    names.look({}, 1, NO_POD)
    assert rows(names) == {}
    names.look({"x": OUTSIDE}, 2, NO_POD)
    assert rows(names) == {}
