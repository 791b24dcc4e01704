# SPDX-License-Identifier: Apache-2.0
"""The stage with a cluster: what it publishes of pods and containers, and when."""

import pytest

from services.metadata import naming

from .engine import FakeEngine
from .machine import ROOT, FakeProc, Stage, activity
from .pod_objects import HASH, UID, ident
from .pods import FakeSource, S, app, by_uid, containers_of, pod, pods_of, requests_of

SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{id}.scope"
PATH, SANDBOX, STATIC = (
    SLICE.format(uid=uid.replace("-", "_"), id=ident(number))
    for uid, number in ((UID, 1), (UID, 2), (HASH, 3))
)
ROWS = [(300, 20, 5, 0, "nginx"), (301, 21, 5, 0, "pause")]
PATHS = {ROOT: "/", 300: PATH, 301: SANDBOX}
BEGIN = 10**15  # long after any stage's own start
AWAITED, APP = ("", "", True), ("app", "container", False)


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc", mount=tmp_path)


@pytest.fixture
def cluster(monkeypatch):
    source = FakeSource()
    monkeypatch.setattr(naming, "open_source", lambda *_arguments: source)
    return source


def test_without_a_cluster_nothing_is_said_of_pods(proc):
    """No row, no column, no source."""
    frame = Stage(proc.path).take(activity(BEGIN, ROWS, PATHS))
    assert (len(frame.pods), len(frame.pod_labels), len(frame.containers)) == (0, 0, 0)
    assert requests_of(frame) is None
    assert [source.name for source in frame.sources] == ["cgroup2"]


def test_the_first_answer_has_the_names_that_are_known(proc, cluster):
    """With requests, labels and what is awaited, in the frame that brought the cgroup."""
    cluster.reported = by_uid(
        pod(UID, app(1, cpu_request_m=250), labels={"team": "a"}), pod(HASH, app(3), api_uid="x")
    )
    frame = Stage(proc.path).take(activity(BEGIN, ROWS, PATHS | {302: STATIC}))
    assert containers_of(frame.containers) == {ident(1): APP, ident(2): AWAITED, ident(3): APP}
    assert pods_of(frame.pods) == {UID: ("web-1", False), HASH: ("web-1", False)}
    assert frame.pods.api_uid == ["x", ""]
    assert (frame.pod_labels.label, frame.pod_labels.value) == (["team"], ["a"])
    assert requests_of(frame) == {"/": 0, PATH: 250, SANDBOX: 0, STATIC: 0}
    assert [(source.name, source.up) for source in frame.sources] == [("cgroup2", True), ("kubernetes", True)]


def test_ids_are_there_before_names(proc, cluster):
    """Energy never waits: the pod's uid and the container's id are in the first answer."""
    cluster.told, cluster.up = False, False
    stage = Stage(proc.path)
    frame = stage.take(activity(BEGIN, ROWS, PATHS))
    assert frame.cgroups.pod_uid == ["", UID, UID]
    assert containers_of(frame.containers) == {ident(1): AWAITED, ident(2): AWAITED}
    assert pods_of(frame.pods) == {UID: ("", True)}
    assert requests_of(frame) is None
    assert frame.sources[-1].reason == "away"
    cluster.reported, cluster.told = by_uid(pod(UID, app(1, cpu_request_m=250))), True
    frame = stage.take(activity(BEGIN + S, ROWS))
    assert containers_of(frame.containers) == {ident(1): APP, ident(2): AWAITED}
    assert requests_of(frame)[PATH] == 250


@pytest.mark.parametrize("comm", ["pause", "pod"])
def test_a_pods_own_container_is_found_by_its_process(proc, cluster, comm):
    """Kubernetes' program or OpenShift's is in it; the other one's is another."""
    cluster.reported = by_uid(pod(UID))
    stage = Stage(proc.path)
    stage.take(activity(BEGIN, [ROWS[0], (301, 21, 5, 0, comm)], PATHS))
    frame = stage.take(activity(BEGIN + 10 * S, [ROWS[0]]))
    assert containers_of(frame.containers) == {ident(2): ("POD", "pause", False)}


def test_the_grace_time_is_a_setting(proc, cluster):
    """--kubernetes.name-grace-s."""
    stage = Stage(proc.path, name_grace_s=2.5)
    stage.take(activity(BEGIN, ROWS, PATHS))
    assert len(stage.take(activity(BEGIN + 5 * S // 2 - 1, ROWS)).pods) == 1
    assert len(stage.take(activity(BEGIN + 5 * S // 2, ROWS)).pods) == 0


def test_a_pod_that_is_there_only_between_two_frames_is_named(proc, cluster):
    """Each tick takes what the cluster reports, for a pod may last for a moment."""
    stage = Stage(proc.path)
    stage.take(activity(BEGIN, [], {ROOT: "/"}))
    cluster.reported = by_uid(pod(UID, app(1)))
    stage.tick(BEGIN + S // 2)
    cluster.reported = {}
    frame = stage.take(activity(BEGIN + S, ROWS, PATHS))
    assert containers_of(frame.containers)[ident(1)] == APP
    assert pods_of(frame.pods) == {UID: ("web-1", False)}


def test_the_dead_keep_their_names_for_their_last_energy(proc, cluster):
    """Though their pod is deleted: for as long as the cgroup is in the frame."""
    cluster.reported = by_uid(pod(UID, app(1)))
    stage = Stage(proc.path)
    stage.take(activity(BEGIN, ROWS, PATHS))
    cluster.reported = {}
    frame = stage.take(activity(BEGIN + 299 * S, [], {ROOT: "/"}))
    assert containers_of(frame.containers)[ident(1)] == APP
    assert pods_of(frame.pods) == {UID: ("web-1", False)}
    frame = stage.take(activity(BEGIN + 301 * S, [], {ROOT: "/"}))
    assert (len(frame.containers), len(frame.pods)) == (0, 0)


def test_a_grace_time_ends_without_activity_too(proc, cluster):
    """A sign of life says the same as an answer."""
    stage = Stage(proc.path)
    stage.take(activity(BEGIN, ROWS, PATHS))
    stage.tick(BEGIN + 10 * S)
    assert len(stage.frames) == 2
    assert (len(stage.frames[-1].containers), len(stage.frames[-1].pods)) == (0, 0)


def test_a_container_of_cgroup1_alone_is_in_its_pod(tmp_path, cluster):
    """Processes say which container and pod they are in, and are named likewise."""
    proc = FakeProc(tmp_path / "proc", mount=tmp_path)
    proc.start(20, 5, f"/kubepods/burstable/pod{UID}/{ident(1)}")
    proc.start(21, 5, f"/kubepods/burstable/pod{UID}/{ident(2)}")
    cluster.reported = by_uid(pod(UID, app(1)))
    stage = Stage(proc.path)
    rows = [(ROOT, 20, 5, 0, "nginx"), (ROOT, 21, 5, 0, "pause")]
    frame = stage.take(activity(BEGIN, rows, {ROOT: "/"}))
    assert frame.processes.pod_uid == [UID, UID]
    assert containers_of(frame.containers) == {ident(1): APP, ident(2): AWAITED}
    assert pods_of(frame.pods) == {UID: ("web-1", False)}
    frame = stage.take(activity(BEGIN + 10 * S, rows, {ROOT: "/"}))
    assert containers_of(frame.containers) == {ident(1): APP, ident(2): ("POD", "pause", False)}


def test_what_could_not_be_read_is_counted(proc, cluster):
    """Once, with the pod's name."""
    cluster.reported = by_uid(pod(trouble="spec.containers[0]: counted as 0"))
    stage = Stage(proc.path)
    for tick in range(3):
        stage.take(activity(BEGIN + tick, ROWS, PATHS))
    assert stage.errors == {"pod_unclear": 1}
    assert "pod shop/web-1: spec.containers[0]: counted as 0" in stage.said("pod_unclear")[0]


def test_engine_and_cluster_together(proc, cluster, run_directory):
    """Each names its own; the engine's late answer is awaited as well."""
    docker = f"/system.slice/docker-{ident(7)}.scope"
    cluster.reported = by_uid(pod(UID, app(1)))
    with FakeEngine(run_directory / "docker.sock") as engine:
        engine.answer = b"HTTP/1.0 500 no\r\n\r\n"
        stage = Stage(proc.path, docker=str(engine.path))
        frame = stage.take(activity(BEGIN, [ROWS[0]], {300: PATH, 303: docker}))
        assert containers_of(frame.containers) == {ident(1): APP, ident(7): AWAITED}
        engine.answer, engine.containers = None, {ident(7): ["/db"]}
        frame = stage.take(activity(BEGIN + 5 * S, [ROWS[0]]))
        assert containers_of(frame.containers) == {ident(1): APP, ident(7): ("db", "", False)}
    assert [source.name for source in frame.sources] == ["cgroup2", "docker", "kubernetes"]


def test_the_source_is_closed_with_the_stage(proc, cluster):
    """Its thread ends."""
    stage = Stage(proc.path)
    stage.close()
    assert cluster.is_closed


def test_the_source_is_asked_for_what_it_has_only(proc, cluster):
    """An answer looks once; nothing of a PodSource that may wait is called."""
    stage = Stage(proc.path)
    cluster.asked = 0
    stage.take(activity(BEGIN, ROWS, PATHS))
    assert cluster.asked == 1
