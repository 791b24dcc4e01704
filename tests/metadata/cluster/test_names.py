# SPDX-License-Identifier: Apache-2.0
"""Metadata and a cluster together: from objects on the wire to the names in its frames."""

from services.metadata.cluster import choice
from tests.metadata.machine import ROOT, FakeProc, Stage, activity
from tests.metadata.pods import containers_of, pods_of, requests_of

from .objects import pod, uid_of
from .world import eventually

PATH = "/kubepods/burstable/pod{uid}/{container}"
BEGIN, S = 10**15, 10**9


def container_id(found):
    return found["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]


def path_of(found):
    return PATH.format(uid=found["metadata"]["uid"], container=container_id(found))


def test_names_come_from_the_cluster_and_outlive_it(world, tmp_path, monkeypatch):
    """The ids at once, the names with a later frame; both stay when the cluster is away."""
    world.cluster.stop()
    monkeypatch.setattr(choice, "SERVICE_ACCOUNT", world.account)
    for name, value in world.environ.items():
        monkeypatch.setenv(name, value)
    known, later = pod("web-1"), pod("web-2")
    proc = FakeProc(tmp_path / "proc", cgroup1=False, mount=tmp_path)
    stage = Stage(proc.path, kubernetes="api", run=world.directory)
    rows = [(300, 20, 5, 0, "nginx"), (301, 21, 5, 0, "nginx")]
    frame = stage.take(activity(BEGIN, rows[:1], {ROOT: "/", 300: path_of(known)}))
    assert pods_of(frame.pods) == {uid_of("web-1"): ("", True)}
    assert containers_of(frame.containers) == {container_id(known): ("", "", True)}
    assert requests_of(frame) is None
    assert not frame.sources[-1].up
    world.cluster.start()
    world.cluster.put(known)

    def names(**expected):
        return pods_of(stage.take(activity(BEGIN + 1, rows)).pods) == expected

    eventually(lambda: names(**{uid_of("web-1"): ("web-1", False)}))
    frame = stage.frames[-1]
    assert containers_of(frame.containers) == {container_id(known): ("main", "container", False)}
    assert (frame.pods.owner_kind, frame.pods.owner_name) == (["Deployment"], ["web"])
    assert frame.pods.qos_class == ["Burstable"]
    assert (frame.pod_labels.label, frame.pod_labels.value) == (["app"], ["web"])
    assert requests_of(frame)[path_of(known)] == 250
    world.cluster.put(later)
    eventually(lambda: len(stage._stage._naming._cluster.pods()) == 2)
    world.cluster.delete(uid_of("web-1"))
    stage.tick(BEGIN + 2)
    eventually(lambda: len(stage._stage._naming._cluster.pods()) == 1)
    world.cluster.stop()
    frame = stage.take(activity(BEGIN + S, rows, {301: path_of(later)}))
    assert pods_of(frame.pods) == {uid_of(name): (name, False) for name in ("web-1", "web-2")}
    stage.close()
