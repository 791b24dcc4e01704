# SPDX-License-Identifier: Apache-2.0
"""Machines of KubeVirt: from the pod's object to the row of a machine in the pod."""

import pytest

from services.metadata import naming
from services.metadata.cluster.read_pod import read_pod

from .machine import Stage, activity
from .pod_objects import UID, ident, pod_object
from .pods import FakeSource, S, app, by_uid, pod
from .test_machines import QEMU, Proc

U = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
LAUNCHER = {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "testvm"}
SCOPE = f"/kubepods/burstable/pod{UID}/{ident(1)}"
BEGIN = 10**15
ROWS = [(300, 7, 100, 0, "qemu-kvm")]


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        (LAUNCHER, {}, "testvm"),
        (LAUNCHER, {"kubevirt.io/domain": "a-name-too-long-for-a-label"}, "a-name-too-long-for-a-label"),
        ({"kubevirt.io": "virt-launcher", "kubevirt.io/domain": "old"}, {}, "old"),
        ({"kubevirt.io": "virt-launcher"}, {}, ""),
        ({"kubevirt.io": "virt-handler", "vm.kubevirt.io/name": "x"}, {"kubevirt.io/domain": "x"}, ""),
        ({"vm.kubevirt.io/name": "x"}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_a_pod_tells_its_machine(labels, annotations, expected):
    """Only virt-launcher's do; the whole name is in an annotation, where there is one."""
    metadata = {"labels": labels, "annotations": annotations}
    assert read_pod(pod_object(metadata=metadata), ()).kubevirt_vm == expected


def test_a_label_that_is_no_text_is_refused():
    """As all of a pod's object is."""
    with pytest.raises(ValueError, match=r"metadata\.labels\.kubevirt\.io: expected text, got a number"):
        read_pod(pod_object(metadata={"labels": {"kubevirt.io": 7}}), ())


@pytest.fixture
def proc(tmp_path):
    found = Proc(tmp_path / "proc")
    found.run(7, 100, "/usr/libexec/qemu-kvm", "-name", "guest=shop_testvm", "-uuid", U, uid=107)
    return found


@pytest.fixture
def cluster(monkeypatch):
    source = FakeSource()
    monkeypatch.setattr(naming, "open_source", lambda *_arguments: source)
    return source


def row(frame):
    """The one machine's row."""
    table = frame.machines
    assert len(table) == 1
    return table.vm_id[0], table.vm_name[0], [*table.namespace], table.uuid[0]


def test_a_machine_has_its_id_at_once_and_its_name_when_the_pod_is_known(proc, cluster):
    """The row waits for the pod, the id does not; the guest's energy is its container's and its pod's too."""
    stage = Stage(proc.path)
    frame = stage.take(activity(BEGIN, ROWS, {300: SCOPE}))
    assert frame.processes.vm_id == [f"qemu-{U}@107"]
    assert (frame.cgroups.container_id, frame.cgroups.pod_uid) == ([ident(1)], [UID])
    assert len(frame.machines) == 0
    cluster.reported = by_uid(pod(UID, app(1, name="compute"), kubevirt_vm="testvm"))
    frame = stage.take(activity(BEGIN + S, ROWS))
    assert row(frame) == (f"qemu-{U}@107", "testvm", ["shop"], U)


def test_after_the_grace_time_qemus_own_name_has_to_do(proc, cluster):
    """And stays: the calculator has kept it."""
    stage = Stage(proc.path)
    stage.take(activity(BEGIN, ROWS, {300: SCOPE}))
    frame = stage.take(activity(BEGIN + 11 * S, ROWS))
    assert row(frame) == (f"qemu-{U}@107", "shop_testvm", [], U)
    cluster.reported = by_uid(pod(UID, app(1), kubevirt_vm="testvm"))
    assert row(stage.take(activity(BEGIN + 12 * S, ROWS))) == (f"qemu-{U}@107", "shop_testvm", [], U)


def test_without_a_cluster_no_name_is_awaited(proc):
    """The first frame has QEMU's."""
    frame = Stage(proc.path).take(activity(BEGIN, ROWS, {300: SCOPE}))
    assert row(frame) == (f"qemu-{U}@107", "shop_testvm", [], U)


def test_a_machine_outside_of_pods_waits_for_none(proc, cluster):
    """Though others are awaited."""
    proc.run(8, 100, "qemu-system-x86_64", "-name", "web")
    rows = [*ROWS, (301, 8, 100, 0, QEMU)]
    frame = Stage(proc.path).take(activity(BEGIN, rows, {300: SCOPE, 301: "/"}))
    assert frame.machines.vm_id == ["qemu-8.100"]
