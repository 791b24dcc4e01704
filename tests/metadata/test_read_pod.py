# SPDX-License-Identifier: Apache-2.0
"""Pods out of their objects: what a pod is, whatever else its object may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cluster.pod import CONTAINER, EPHEMERAL, INIT, SIDECAR, Pod, PodContainer
from services.metadata.cluster.read_pod import read_pod

from .pod_objects import CREATED, HASH, UID, ident, owned_by, pod_object, spec_of, status_of, terminated


def containers(found):
    return {one.name: one for one in read_pod(found, ()).containers}


def ids(found):
    return {one.name: one.container_ids for one in read_pod(found, ()).containers}


def test_a_pod_as_it_is_created():
    """Name, namespace and uid are there before any status."""
    assert read_pod(pod_object(), ()) == Pod(
        uid=UID,
        api_uid=UID,
        name="web-1",
        namespace="shop",
        qos_class="BestEffort",
        containers=(PodContainer("app"),),
    )


def test_all_kinds_of_containers():
    """A sidecar is an init container that is always restarted."""
    found = containers(
        pod_object(
            spec={
                "initContainers": [
                    spec_of("migrate"),
                    spec_of("proxy", restartPolicy="Always"),
                    spec_of("wait", restartPolicy="OnFailure"),
                ],
                "ephemeralContainers": [spec_of("debug", targetContainerName="app")],
            },
            status={
                "containerStatuses": [status_of("app", 1)],
                "initContainerStatuses": [status_of("migrate", 2), status_of("proxy", 3)],
                "ephemeralContainerStatuses": [status_of("debug", 4)],
            },
        )
    )
    assert {name: (one.kind, one.container_ids) for name, one in found.items()} == {
        "app": (CONTAINER, (ident(1),)),
        "migrate": (INIT, (ident(2),)),
        "proxy": (SIDECAR, (ident(3),)),
        "wait": (INIT, ()),
        "debug": (EPHEMERAL, (ident(4),)),
    }


def test_a_restarted_container_has_both_ids():
    """The run before is in lastState; one that ended for good has its id in state too."""
    status = status_of("app", 3, lastState=terminated(2), state={"running": {"startedAt": "x"}})
    assert ids(pod_object(status={"containerStatuses": [status]})) == {"app": (ident(3), ident(2))}
    status = status_of("app", 3, lastState=terminated(2), state=terminated(3))
    assert ids(pod_object(status={"containerStatuses": [status]})) == {"app": (ident(3), ident(2))}
    status = status_of("app", None, state=terminated(3))
    assert ids(pod_object(status={"containerStatuses": [status]})) == {"app": (ident(3),)}


@pytest.mark.parametrize("prefix", ["containerd://", "cri-o://", "docker://", ""])
def test_the_runtimes_prefix_is_no_part_of_an_id(prefix):
    """The cgroup's path has the bare one."""
    status = {"name": "app", "containerID": f"{prefix}{ident(1)}"}
    assert ids(pod_object(status={"containerStatuses": [status]})) == {"app": (ident(1),)}


def test_odd_parts_are_fine():
    """Null lists, null or empty ids, fields of other versions, a status of what the manifest lacks."""
    found = pod_object(
        metadata={"labels": None, "annotations": None, "ownerReferences": None, "managedFields": [{"x": 1}]},
        spec={"initContainers": None, "ephemeralContainers": [], "resources": None, "novel": {"a": [1]}},
        status={
            "containerStatuses": [
                {"name": "app", "containerID": "", "state": None, "lastState": {}},
                {"name": "later", "containerID": f"containerd://{ident(7)}", "state": {"waiting": {}}},
            ],
            "initContainerStatuses": None,
        },
    )
    assert ids(found) == {"app": (), "later": (ident(7),)}
    del found["status"], found["spec"]
    assert read_pod(found, ()).containers == ()


MIRROR = {"kubernetes.io/config.hash": HASH, "kubernetes.io/config.mirror": HASH}
SOURCE = {"kubernetes.io/config.source": "file"}


@pytest.mark.parametrize(
    ("uid", "annotations", "path_uid"),
    [
        (UID, {**MIRROR, **SOURCE}, HASH),
        (UID, {"kubernetes.io/config.mirror": HASH}, HASH),
        # The kubelet itself shows the static pod, whose uid is the hash.
        (HASH, {"kubernetes.io/config.hash": HASH, **SOURCE}, HASH),
        (UID, {"kubernetes.io/config.source": "api", "kubernetes.io/config.seen": "x"}, UID),
        # Anybody may write annotations: such a pod runs under its own uid.
        (UID, {"kubernetes.io/config.hash": HASH, **SOURCE}, UID),
        (UID, {"kubernetes.io/config.mirror": "x" + UID[1:]}, UID),
        (UID, {"kubernetes.io/config.mirror": "9" + UID[1:], "kubernetes.io/config.hash": 7}, UID),
        (UID, {"kubernetes.io/config.mirror": None, "kubernetes.io/config.hash": HASH}, UID),
    ],
)
def test_a_static_pod_has_the_uid_of_its_cgroups(uid, annotations, path_uid):
    """Mirror and static pod are one, and no other pod can be taken for one."""
    status = {"containerStatuses": [status_of("app", 1)]}
    found = read_pod(pod_object(uid=uid, metadata={"annotations": annotations}, status=status), ())
    assert (found.uid, found.api_uid) == (path_uid, uid)


@pytest.mark.parametrize(
    ("status", "path_uid"),
    [
        ({}, UID),
        ({"conditions": [], "containerStatuses": []}, UID),
        ({"startTime": CREATED}, HASH),
        ({"containerStatuses": [status_of("app")]}, HASH),
        ({"initContainerStatuses": [status_of("first")]}, HASH),
    ],
)
def test_a_mirror_is_one_once_a_kubelet_has_reported_it(status, path_uid):
    """Anybody who may make pods can make a mirror of another's static pod; its kubelet reports none of it."""
    found = read_pod(pod_object(metadata={"annotations": MIRROR}, status=status), ())
    assert (found.uid, found.api_uid) == (path_uid, UID)


def test_the_owner_is_read():
    """workload.py has the rules."""
    found = read_pod(
        pod_object(metadata=owned_by("ReplicaSet", "web-5c", "apps/v1", **{"pod-template-hash": "5c"})), ()
    )
    assert (found.owner_kind, found.owner_name) == ("Deployment", "web")
    found = read_pod(pod_object(metadata=owned_by("ReplicaSet", "web-5c", "apps/v1")), ())
    assert (found.owner_kind, found.owner_name) == ("ReplicaSet", "web-5c")
    not_controller = {"ownerReferences": [{"kind": "Node", "name": "n1", "controller": False}]}
    assert read_pod(pod_object(metadata=not_controller), ()).owner_kind == ""


def test_only_chosen_labels_are_read():
    """Those that the pod has; an empty value says nothing."""
    metadata = {"labels": {"app": "web", "team": "", "secret": "x"}}
    assert read_pod(pod_object(metadata=metadata), ("app", "team", "tier")).labels == {"app": "web"}


def resources(**asked):
    return {
        "resources": {kind: dict(zip(("cpu", "memory"), one, strict=False)) for kind, one in asked.items()}
    }


def qos_of(*asked, init=(), ephemeral=(), **spec):
    lists = {"containers": asked, "initContainers": init, "ephemeralContainers": ephemeral}
    specs = {
        key: [spec_of(f"{key[0]}{number}", **one) for number, one in enumerate(those)]
        for key, those in lists.items()
    }
    return read_pod(pod_object(spec={**specs, **spec}), ()).qos_class


FULL = resources(limits=("1", "1Gi"), requests=("1", "1Gi"))


def test_the_qos_class_is_the_apis():
    """Whatever the manifest seems to say."""
    assert read_pod(pod_object(status={"qosClass": "Guaranteed"}), ()).qos_class == "Guaranteed"
    assert read_pod(pod_object(status={"qosClass": "Royal"}), ()).qos_class == "BestEffort"


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("BestEffort", qos_of({}, {})),
        ("BestEffort", qos_of(resources(requests=("0",), limits=("0", "0")))),
        ("Burstable", qos_of(resources(requests=("100m",)))),
        ("Burstable", qos_of(resources(limits=("1",)))),
        ("Guaranteed", qos_of(resources(limits=("1", "1Gi")))),  # each is a request too
        ("Guaranteed", qos_of(FULL, resources(limits=("2000m", "1Gi"), requests=("2", "1024Mi")))),
        ("Burstable", qos_of(FULL, resources(limits=("2", "1Gi"), requests=("1", "1Gi")))),
        ("Burstable", qos_of(FULL, {})),
        ("Burstable", qos_of(FULL, init=({},))),
        ("Burstable", qos_of(FULL, init=(resources(limits=("1",)),))),
        ("Guaranteed", qos_of(FULL, init=(FULL,), ephemeral=({},))),
        ("Guaranteed", qos_of({}, **FULL)),
        ("Burstable", qos_of(FULL, **resources(requests=("1",)))),
    ],
)
def test_without_a_status_the_qos_class_is_computed(expected, found):
    """By all containers but ephemeral ones; by the pod's own resources where it has any."""
    assert found == expected


def requests_of(found):
    return {name: one.cpu_request_m for name, one in containers(found).items()}


def test_requests_of_each_container():
    """In thousandths of a CPU; a limit alone is a request too, memory is none."""
    limited = {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}
    specs = [spec_of("a", "250m"), spec_of("b", 1), spec_of("c"), spec_of("d", None, **limited)]
    found = pod_object(spec={"containers": specs, "initContainers": [spec_of("i", "0.1")]})
    assert requests_of(found) == {"a": 250, "b": 1000, "c": 0, "d": 2000, "i": 100}
    assert read_pod(found, ()).trouble == ""


@pytest.mark.parametrize("asked", ["much", "-1", "2e3m", [], {"a": 1}, True])
def test_a_request_that_is_none_counts_as_0_and_is_said(asked):
    """The pod is still known."""
    found = read_pod(pod_object(spec={"containers": [spec_of("a", asked), spec_of("b", "1")]}), ())
    assert [one.cpu_request_m for one in found.containers] == [0, 1000]
    assert "spec.containers[0].resources.requests.cpu: expected a quantity" in found.trouble
    assert "counted as 0" in found.trouble


def test_what_a_pod_requests_as_a_whole():
    """Evenly for what runs together, if no container has a request of its own; exactly."""
    whole = {"resources": {"requests": {"cpu": "1"}}}
    lists = {
        "containers": [spec_of("a"), spec_of("b")],
        "initContainers": [spec_of("proxy", restartPolicy="Always"), spec_of("first")],
        "ephemeralContainers": [spec_of("debug")],
    }
    assert requests_of(pod_object(spec={**lists, **whole})) == {
        "a": 334,
        "b": 333,
        "proxy": 333,
        "first": 1000,
        "debug": 0,
    }
    lists["containers"][1] = spec_of("b", "100m")
    assert requests_of(pod_object(spec={**lists, **whole}))["b"] == 100
    assert requests_of(pod_object(spec={**lists, **whole}))["a"] == 0


WRONG = {
    "metadata": ({"metadata": []}, "metadata: expected an object, got a list"),
    "no uid": ({"metadata": {"name": "a", "namespace": "b"}}, "metadata.uid: expected text, got none"),
    "a uid of another type": ({"metadata": {"uid": 7}}, "metadata.uid: expected text, got a number"),
    "no name": ({"metadata": {"uid": "u", "namespace": "b"}}, "metadata.name: expected text, got none"),
    "spec": ({"spec": "x"}, "spec: expected an object, got text"),
    "containers": ({"spec": {"containers": {}}}, "spec.containers: expected a list, got an object"),
    "a container": (
        {"spec": {"containers": [None]}},
        r"spec.containers\[0\]: expected an object, got nothing",
    ),
    "its name": ({"spec": {"containers": [{}]}}, r"spec.containers\[0\].name: expected text, got none"),
    "resources": (
        {"spec": {"containers": [{"name": "a", "resources": True}]}},
        r"spec.containers\[0\].resources: expected an object, got a truth value",
    ),
    "a status": (
        {"status": {"containerStatuses": [7]}},
        r"status.containerStatuses\[0\]: expected an object",
    ),
    "an id": (
        {"status": {"containerStatuses": [{"name": "a", "containerID": 7}]}},
        r"containerStatuses\[0\].containerID: expected text, got a number",
    ),
    "a state": (
        {"status": {"containerStatuses": [{"name": "a", "lastState": []}]}},
        "lastState: expected an object, got a list",
    ),
    "labels": (
        {"metadata": {"uid": "u", "name": "a", "namespace": "b", "labels": []}},
        "metadata.labels: expected an object, got a list",
    ),
    "a label": (
        {"metadata": {"uid": "u", "name": "a", "namespace": "b", "labels": {"app": "x" * 64}}},
        "metadata.labels.app: expected at most 63 characters, got 64",
    ),
    "a long name": (
        {"metadata": {"uid": "u", "name": "a" * 254, "namespace": "b"}},
        "metadata.name: expected at most 253 characters, got 254",
    ),
    "too many": ({"spec": {"containers": [{}] * 10_001}}, "expected at most 10000 of them, got 10001"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_pod_is_refused(case):
    """With the place, what was expected there, and what there is."""
    change, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        read_pod({**pod_object(), **change}, ("app",))


def test_a_refusal_says_which_pod():
    """By its name, harmlessly, as far as it has one."""
    with pytest.raises(ValueError, match=r"^pod 'shop/web-1': spec: expected an object, got a list$"):
        read_pod({**pod_object(), "spec": []}, ())
    with pytest.raises(ValueError, match=r"^pod without a name: metadata.uid: expected text, got none$"):
        read_pod({}, ())
    with pytest.raises(ValueError, match=r"^pod 'a\\nb': metadata.uid: expected"):
        read_pod({"metadata": {"name": "a\nb"}}, ())


@pytest.mark.parametrize("found", [[], "x", None, 7, True])
def test_what_is_no_object_is_no_pod(found):
    """A list may hold anything."""
    with pytest.raises(ValueError, match="expected a pod, got something else"):
        read_pod(found, ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
WORDS = """metadata spec status uid name namespace labels annotations ownerReferences kind controller
apiVersion containers initContainers ephemeralContainers containerStatuses initContainerStatuses resources
requests limits cpu memory restartPolicy containerID state lastState terminated qosClass creationTimestamp
kubernetes.io/config.mirror kubernetes.io/config.hash pod-template-hash startTime app"""
KEYS = st.sampled_from(WORDS.split())
LIKE_A_POD = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6)
)


@st.composite
def changed_pods(draw):
    """A pod's object in which anything may be anything else."""
    found = pod_object(
        metadata=owned_by("Job", "a-29539320", "batch/v1", app="x")
        | {"annotations": {"kubernetes.io/config.mirror": HASH}},
        spec={"initContainers": [spec_of("i", "1m")], "resources": {"requests": {"cpu": "1"}}},
        status={"containerStatuses": [status_of("app", 1, lastState=terminated(2))]},
    )
    for _change in range(draw(st.integers(1, 3))):
        here = found
        while True:
            keys = sorted(here, key=str) if isinstance(here, dict) else range(len(here))
            key = draw(st.sampled_from(keys))
            if not isinstance(here[key], dict | list) or not here[key] or draw(st.booleans()):
                here[key] = draw(LIKE_A_POD)
                break
            here = here[key]
    return found


@given(st.one_of(JSON, LIKE_A_POD, changed_pods()))
def test_any_json_is_a_pod_or_a_value_error(found):
    """Whatever a server sends, nothing else comes of it."""
    text, pod = "", None
    try:
        pod = read_pod(found, ("app",))
    except ValueError as error:
        text = str(error)
    assert len(text) < 2000
    if pod is None:
        return
    assert pod.uid
    assert pod.name
    assert pod.namespace
    assert all(0 <= one.cpu_request_m < 2**32 for one in pod.containers)
