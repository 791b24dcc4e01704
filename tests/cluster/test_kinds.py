# SPDX-License-Identifier: Apache-2.0
"""What each kind of pod and container is called: real objects of the API, real containers at their paths."""

import hashlib
import time

import pytest

from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .named import container_name, joules, pod_labels, pod_uj, source_state
from .node import Node, uid
from .objects import container, ended, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture
def scene(node, kubepods, kubeconfig, wattline):
    """(node, pods on this machine, watching) of a Wattline that hands on the labels app and team."""
    with wattline(kubeconfig, node.name, kubernetes_labels="app,team") as watching:
        yield node, kubepods, watching


def test_each_kind_has_its_name(scene):
    """Init, restarted and pause containers; a static pod and its mirror; the workload of a pod."""
    node, pods, watching = scene
    node.add_namespace("shop")
    checks = [
        _init_and_restarted(node, pods),
        _static(node, pods),
        *(_owned(node, pods, one) for one in _OWNERS),
    ]
    for wait in checks:
        wait(watching)
    kinds = _kinds(watching.pipeline.run)
    print(sorted(kinds.values()))
    assert sorted(kinds.values()).count("pause") == 1
    assert sorted(kinds.values()).count("init") == 1


def _init_and_restarted(node, pods):
    """A pod with its sandbox, an init container that has ended, and one that was restarted."""
    pod = node.add_pod(
        "web-1",
        container("web", "250m"),
        namespace="shop",
        init=[container("prepare")],
        labels={"app": "web", "team": "a", "secret": "x"},
    )
    sandbox = pods.pause(uid(pod), "Burstable")
    prepare = pods.run(uid(pod), "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", "Burstable")
    node.tell(pod, [], [running("prepare", prepare.container_id)], phase="Pending")
    prepare.wait()
    first = pods.run(uid(pod), qos="Burstable")
    node.tell(pod, [running("web", first.container_id)], [ended("prepare", prepare.container_id)])
    time.sleep(1)
    first.kill()
    first.wait()
    second = pods.run(uid(pod), qos="Burstable")
    node.tell(
        pod,
        [running("web", second.container_id, 1, before=first.container_id)],
        [ended("prepare", prepare.container_id)],
    )

    def wait(watching):
        for one, name in ((prepare, "prepare"), (first, "web"), (second, "web"), (sandbox, "POD")):
            watching.until(
                lambda series, one=one, name=name: (
                    container_name(series, one.container_id) == ("shop", "web-1", name)
                )
            )
        labels = watching.until(lambda series: pod_labels(series, uid(pod)))
        print(labels)
        assert (labels["pod_name"], labels["namespace"]) == ("web-1", "shop")
        assert {"web", "a"} <= set(labels.values()) | set(_own_labels(watching, uid(pod)).values())
        assert "x" not in _own_labels(watching, uid(pod)).values()

    return wait


def _own_labels(watching, pod_uid):
    """All labels of all series that bear a pod's uid."""
    return {
        name: value
        for one in watching.series
        if one.labels.get("pod_uid") == pod_uid
        for name, value in one.labels.items()
    }


def _static(node, pods):
    """Its cgroup bears the hash of its manifest; what the API has is a mirror with another uid."""
    config_hash = hashlib.md5(node.name.encode(), usedforsecurity=False).hexdigest()
    work = pods.run(config_hash)
    mirror = node.add_pod(
        f"proxy-{node.name}",
        container("proxy"),
        annotations={
            "kubernetes.io/config.hash": config_hash,
            "kubernetes.io/config.mirror": config_hash,
            "kubernetes.io/config.source": "file",
        },
        owner=("Node", node.name),
    )
    node.tell(mirror, [running("proxy", work.container_id)])

    def wait(watching):
        name = f"proxy-{node.name}"
        watching.until(lambda series: container_name(series, work.container_id) == ("default", name, "proxy"))
        assert watching.until(lambda series: pod_labels(series, config_hash))["pod_name"] == name
        assert pod_labels(watching.series, uid(mirror)) is None, "one pod, not two"

    return wait


_MINUTE = int(time.time()) // 60  # what a CronJob's controller has in the name of its Job
# (name of the pod, its controller, its labels, the workload it belongs to)
_OWNERS = [
    (
        "web-5d9c7b8f6-x7k2p",
        ("ReplicaSet", "web-5d9c7b8f6"),
        {"pod-template-hash": "5d9c7b8f6"},
        ("Deployment", "web"),
    ),
    ("lone-abcde", ("ReplicaSet", "lone"), {"pod-template-hash": "5d9c7b8f6"}, ("ReplicaSet", "lone")),
    ("agent-qwert", ("DaemonSet", "agent"), {}, ("DaemonSet", "agent")),
    ("db-0", ("StatefulSet", "db"), {}, ("StatefulSet", "db")),
    (f"backup-{_MINUTE}-zzzzz", ("Job", f"backup-{_MINUTE}"), {}, ("CronJob", "backup")),
    ("report-20260131-zzzzz", ("Job", "report-20260131"), {}, ("Job", "report-20260131")),
    ("once-abcde", ("Job", "once"), {}, ("Job", "once")),
    ("by-hand", None, {}, ("", "")),
]


def _owned(node, pods, case):
    name, owner, labels, workload = case
    pod = node.add_pod(name, container("work"), owner=owner, labels=labels)
    work = pods.run(uid(pod), "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exec sleep 1000000")
    node.tell(pod, [running("work", work.container_id)])

    def wait(watching):
        watching.until(lambda series: container_name(series, work.container_id) == ("default", name, "work"))
        found = _own_labels(watching, uid(pod))
        print(found)
        assert (found["owner_kind"], found["owner_name"]) == workload

    return wait


def _kinds(run_directory):
    table = read_last(ServiceDirectory(run_directory, "calculator")).containers
    return dict(zip(table.container_id, table.kind, strict=False))


def test_a_name_that_changes_hands_within_a_second(scene):
    """A StatefulSet's pod is deleted and made anew at once: one name, two uids, each with its own energy."""
    node, pods, watching = scene
    first = node.add_pod("db-0", owner=("StatefulSet", "db"))
    first_work = pods.run(uid(first))
    node.tell(first, [running("work", first_work.container_id)])
    watching.until(lambda series: container_name(series, first_work.container_id))
    first_work.kill()
    first_work.wait()
    began_s = time.monotonic()
    node.remove_pod(first)
    second = node.add_pod("db-0", owner=("StatefulSet", "db"))
    changed_s = time.monotonic() - began_s
    second_work = pods.run(uid(second))
    node.tell(second, [running("work", second_work.container_id)])
    assert changed_s < 1
    for pod, work in ((first, first_work), (second, second_work)):
        watching.until(
            lambda series, work=work: container_name(series, work.container_id) == ("default", "db-0", "work")
        )
        watching.until(
            lambda series, pod=pod: joules(series, "wattline_pod_joules_total", pod_uid=uid(pod)) > 0
        )


def test_a_pod_that_was_deleted_before_it_was_seen(scene):
    """Its energy is the uid's: after the grace time without a name, or with it if there was time."""
    node, pods, watching = scene
    pod = node.add_pod("gone-1")
    node.remove_pod(pod)
    work = pods.run(uid(pod))
    name = watching.until(lambda series: container_name(series, work.container_id), 40)
    assert name in (("", "", ""), ("default", "gone-1", ""))
    watching.until(lambda series: joules(series, "wattline_pod_joules_total", pod_uid=uid(pod)) > 0)


def test_a_node_that_the_cluster_does_not_know(cluster, kubepods, kubeconfig, wattline):
    """It is said, also as source_up 0; energy is the uid's; once there is such a node, names come."""
    name = "no-such-node"
    with wattline(kubeconfig, name, kubernetes_name_grace_s="60") as watching:
        watching.until(lambda series: source_state(series) == 0)
        watching.pipeline.wait_until(lambda: watching.pipeline.said(f"no node {name}"))
        with Node(cluster.admin, name) as node:
            pod = node.add_pod("late")
            work = kubepods.run(uid(pod))
            node.tell(pod, [running("work", work.container_id)])
            watching.pipeline.wait_until(lambda: pod_uj(watching.pipeline.run, uid(pod)) > 0)
            watching.until(
                lambda series: container_name(series, work.container_id) == ("default", "late", "work"), 100
            )
            watching.until(lambda series: source_state(series) == 1)
