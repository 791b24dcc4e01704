# SPDX-License-Identifier: Apache-2.0
"""Names of pods, containers and machines: what has them, what waits for them, what labels they become."""

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.exporter import workloads
from services.exporter.label_names import label_names
from wattline.wire.columns import U8

from .frames import books
from .readback import scraped, total

ZONE = [("package", "0", "rapl-sysfs")]
NAMED = ("kepler_container_", "wattline_pod_", "wattline_container_info")


def rows(*containers, **more):
    """What a scrape shows of containers given as (id, pod uid, µJ) each."""
    table = [(container_id, pod, "containerd", uj, [uj], [0]) for container_id, pod, uj in containers]
    return scraped(books(ZONE, table, [], [], **more))


def labels_of(series, name):
    return [one.labels for one in series if one.name == name]


def pods(**awaited):
    """Pods by uid: 1 while awaited."""
    return {
        "pod_uid": list(awaited),
        "pod_name": ["" if wait else f"name-of-{uid}" for uid, wait in awaited.items()],
        "namespace": ["" if wait else "shop" for wait in awaited.values()],
        "is_awaited": U8(awaited.values()),
    }


def test_what_awaits_a_name_is_in_no_series_with_names():
    """A container that waits itself, one whose pod does, and that pod; a gauge has what they hold."""
    series = rows(
        ("a", "p", 1),
        ("b", "p", 20),
        ("c", "q", 300),
        ("terminated", "q", 4_000),
        pods=pods(p=0, q=1),
        awaited=[0, 1, 0, 0],
    )
    shown = {
        value
        for one in series
        if one.name.startswith(NAMED)
        for key, value in one.labels.items()
        if key in ("container_id", "pod_uid")
    }
    assert shown == {"a", "p", "terminated"}
    waits = {one.labels["level"]: one.value for one in series if one.name == "wattline_awaiting_names_joules"}
    assert waits == {"container": Decimal("0.000320"), "pod": Decimal("0.004300")}
    seconds = {
        one.labels["level"]: one.value for one in series if one.name == "wattline_awaiting_names_cpu_seconds"
    }
    assert seconds == {"container": Decimal("0.000000320"), "pod": Decimal("0.000004300")}
    assert total(series, "wattline_container_departed_joules_total", container_id="c") == Decimal("0.0003")


def test_nothing_waits_in_frames_of_older_calculators():
    """They have none of the columns: all is shown, without pods' names."""
    series = rows(("a", "p", 1))
    assert labels_of(series, "kepler_container_joules_total") == [{"container_id": "a", "mode": "dynamic"}]
    assert labels_of(series, "wattline_pod_info") == [{"pod_uid": "p"}]
    assert total(series, "wattline_awaiting_names_joules") == 0


def test_a_pods_series_and_info_share_their_labels():
    """So `on (pod_uid)` and `on (namespace, pod_name)` both join; an unnamed pod has an info as well."""
    series = rows(("a", "p", 1), ("b", "q", 2), ("c", "", 4), pods=pods(p=0))
    (first, second) = labels_of(series, "wattline_pod_joules_total")
    assert first.items() >= {"pod_uid": "p", "pod_name": "name-of-p", "namespace": "shop"}.items()
    assert (second["pod_uid"], second.get("pod_name")) == ("q", None)
    assert labels_of(series, "wattline_pod_info") == [
        {"pod_uid": "p", "pod_name": "name-of-p", "namespace": "shop"},
        {"pod_uid": "q"},
    ]


def test_names_are_read_once_however_many_pods_there_are(monkeypatch):
    """Not once for each pod: 2,000 pods took 0.9 s of a scrape."""
    read = []
    pod_names = workloads.pod_names
    monkeypatch.setattr(workloads, "pod_names", lambda energy: read.append(1) or pod_names(energy))
    uids = [f"p{number}" for number in range(100)]
    containers = [(f"c-{uid}", uid, "containerd", 1, [1], [0]) for uid in uids]
    workloads.rows_by_pod(books(ZONE, containers, [], [], pods=pods(**dict.fromkeys(uids, 0))))
    assert len(read) == 1


def test_a_pods_info_says_whose_it_is():
    """The workload that it belongs to, its class, and a static pod's uid in the API."""
    more = {"owner_kind": ["Node"], "owner_name": ["n1"], "qos_class": ["Burstable"], "api_uid": ["u-1"]}
    (labels,) = labels_of(rows(("a", "p", 1), pods=pods(p=0) | more), "wattline_pod_info")
    assert labels == {
        "pod_uid": "p",
        "pod_name": "name-of-p",
        "namespace": "shop",
        "owner_kind": "Node",
        "owner_name": "n1",
        "qos_class": "Burstable",
        "api_uid": "u-1",
    }


def test_info_of_a_container_says_its_kind():
    """Also of one in no pod, which has none."""
    series = rows(("a", "p", 1), ("b", "", 1), kinds=["sidecar", ""], container_names=["proxy", "db"])
    assert labels_of(series, "wattline_container_info") == [
        {
            "container_id": "a",
            "container_name": "proxy",
            "kind": "sidecar",
            "runtime": "containerd",
            "pod_uid": "p",
        },
        {"container_id": "b", "container_name": "db", "runtime": "containerd"},
    ]


def test_chosen_labels_only_of_pods_with_a_series():
    """One info series for each pod that has any of them, never of one that waits, or has no row."""
    told = [("p", "team", "a"), ("q", "team", "b"), ("gone", "team", "c")]
    series = rows(("a", "p", 1), ("b", "q", 1), ("c", "r", 1), pods=pods(p=0, q=1, r=0), pod_labels=told)
    assert labels_of(series, "wattline_pod_labels") == [
        {"pod_uid": "p", "pod_name": "name-of-p", "namespace": "shop", "label_team": "a"}
    ]


def test_machines_have_an_info():
    """Of those that run and have a name; `vm_id` joins it with Kepler's series."""
    machines = {"vm_id": ["v", "gone"], "vm_name": ["web", "x"], "hypervisor": ["qemu", "qemu"]}
    series = rows(("a", "", 1), ("b", "", 2), vm_ids=["v", "w"], machines=machines)
    assert labels_of(series, "wattline_vm_info") == [{"vm_id": "v", "vm_name": "web", "hypervisor": "qemu"}]


def test_labels_have_the_names_that_kube_state_metrics_gives_them():
    """Underscores for what may not stand in a name, small letters, and a number where two become the same."""
    assert label_names(["app.kubernetes.io/name", "team", "partOf", "x-Y"]) == {
        "app.kubernetes.io/name": "label_app_kubernetes_io_name",
        "team": "label_team",
        "partOf": "label_part_of",
        "x-Y": "label_x_y",
    }
    assert label_names(["a.b", "a/b", "a_b_conflict1"]) == {
        "a.b": "label_a_b_conflict2",
        "a/b": "label_a_b_conflict3",
        "a_b_conflict1": "label_a_b_conflict1",
    }


@given(st.lists(st.text(st.sampled_from("aB._/-ü1"), max_size=6) | st.text(max_size=5), max_size=16))
def test_any_labels_have_names_of_their_own(labels):
    """Valid for Prometheus, no two equal, whatever their order."""
    names = label_names(labels)
    assert names.keys() == set(labels)
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch("label_[a-z0-9_]*", name) for name in names.values())
    assert names == label_names(labels[::-1])
