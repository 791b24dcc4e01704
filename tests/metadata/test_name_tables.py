# SPDX-License-Identifier: Apache-2.0
"""Which name a container and a pod get, from whom, and for how long it is awaited."""

from dataclasses import replace

import pytest

from services.metadata.cgroup_path import CgroupIdentity
from services.metadata.container_names import ContainerNames
from services.metadata.name_tables import NameTables

from .pod_objects import HASH, UID, ident
from .pods import GRACE_NS, Join, S, app, containers_of, pod, seen

OTHER = "9" + UID[1:]
AWAITED = ("", "", True)
APP = ("app", "container", False)
POD = ("POD", "pause", False)


def test_names_are_there_at_once_where_the_cluster_was_faster():
    """Nothing is awaited then."""
    join = Join(pod(UID, app(1, 2), app(3, name="debug", kind="ephemeral")))
    assert join.containers(0, seen(UID, 1, 2, 3)) == {
        ident(1): APP,
        ident(2): APP,
        ident(3): ("debug", "ephemeral", False),
    }
    assert join.pods(0, UID) == {UID: ("web-1", False)}


def test_a_late_name_is_awaited_and_then_given():
    """First the pod, then its containers' statuses."""
    join = Join()
    assert join.containers(0, seen(UID, 1)) == {ident(1): AWAITED}
    assert join.pods(0, UID) == {UID: ("", True)}
    join.report(S, pod(UID, app()))
    assert join.containers(2 * S, seen(UID, 1)) == {ident(1): AWAITED}
    assert join.pods(2 * S, UID) == {UID: ("web-1", False)}
    join.report(3 * S, pod(UID, app(1)))
    assert join.containers(4 * S, seen(UID, 1)) == {ident(1): APP}


def test_the_grace_time_ends():
    """Since the id was first seen, not since the pod was; then nothing is said of it."""
    join = Join()
    just_before_ns = GRACE_NS - 1
    join.containers(0, seen(UID, 1))
    join.pods(0, UID)
    assert join.containers(just_before_ns, seen(UID, 1, 2)) == {ident(1): AWAITED, ident(2): AWAITED}
    assert join.pods(just_before_ns, UID) == {UID: ("", True)}
    assert join.containers(GRACE_NS, seen(UID, 1, 2)) == {ident(2): AWAITED}
    assert join.pods(GRACE_NS, UID) == {}
    assert join.containers(2 * GRACE_NS, seen(UID, 1, 2)) == {}


def test_a_name_after_the_grace_time_is_told_all_the_same():
    """For a calculator that begins then; one that was there before keeps the series as it is."""
    join = Join()
    for now_ns in (0, GRACE_NS, GRACE_NS + 1):
        join.containers(now_ns, seen(UID, 1))
        pods = join.pods(now_ns, UID)
    assert pods == {}
    join.report(GRACE_NS + S, pod(UID, app(1)))
    assert join.containers(GRACE_NS + S, seen(UID, 1)) == {ident(1): APP}
    assert join.pods(GRACE_NS + S, UID) == {UID: ("web-1", False)}


def test_without_a_grace_time_nothing_is_awaited():
    """Whoever sets 0 wants series at once."""
    join = Join(grace_ns=0)
    assert join.containers(0, seen(UID, 1)) == {}
    assert join.pods(0, UID) == {}


def test_what_is_in_no_pod_is_not_the_clusters():
    """Nor awaited of it."""
    join = Join(pod(UID, app(1)))
    assert join.containers(0, seen("", 1, 2)) == {}


def test_a_name_never_changes():
    """Whatever a status says later."""
    join = Join(pod(UID, app(1)))
    join.containers(0, seen(UID, 1))
    join.report(S, pod(UID, app(name="app"), app(1, name="other", kind="init")))
    assert join.containers(S, seen(UID, 1)) == {ident(1): APP}


def test_an_id_counts_in_the_pod_that_its_path_names():
    """Whoever may write the status of one pod names no container of another."""
    join = Join(pod(UID, app(1, cpu_request_m=100)), pod(OTHER))
    join.containers(0, seen(OTHER, 1))
    assert join.containers(GRACE_NS, seen(OTHER, 1)) == {}
    assert join.tables.cpu_requests_m(seen(OTHER, 1)) == {}
    assert join.tables.cpu_requests_m(seen(UID, 1)) == {ident(1): 100}


def test_requests_are_those_of_now():
    """They follow a pod that is resized, and containers as they come and go."""
    join = Join(pod(UID, app(1, cpu_request_m=100)))
    assert join.tables.cpu_requests_m(seen(UID, 1, 2)) == {ident(1): 100}
    join.report(S, pod(UID, app(1, cpu_request_m=200), app(2, name="b")))
    assert join.tables.cpu_requests_m(seen(UID, 1, 2)) == {ident(1): 200, ident(2): 0}
    assert join.tables.cpu_requests_m(seen(UID, 2)) == {ident(2): 0}


def test_a_restarted_container_has_its_name_twice():
    """The run before keeps it; it has a cgroup and an id of its own."""
    join = Join(pod(UID, app(1)))
    join.containers(0, seen(UID, 1))
    join.report(S, pod(UID, app(2)))
    assert join.containers(S, seen(UID, 1, 2)) == {ident(1): APP, ident(2): APP}


def test_a_pod_deleted_before_it_was_seen_is_named():
    """The cluster's word is taken when it comes, not when there is something to name."""
    join = Join(pod(UID, app(1)))
    join.report(S, pod(OTHER, app(2)))
    assert join.containers(2 * S, seen(UID, 1) | seen(OTHER, 2)) == {ident(1): APP, ident(2): APP}
    assert join.pods(2 * S, UID, OTHER) == {UID: ("web-1", False), OTHER: ("web-1", False)}


def test_a_static_pods_uid_is_its_hash():
    """Its row has the API's uid as well."""
    join = Join(pod(HASH, app(1), api_uid=UID, name="etcd-n1"))
    assert join.containers(0, seen(HASH, 1)) == {ident(1): APP}
    table, _labels = join.tables.pods({HASH}, 0)
    assert (table.pod_uid, table.pod_name, table.api_uid) == ([HASH], ["etcd-n1"], [UID])


def test_rows_of_pods():
    """All that is known; a column that would be empty is absent."""
    known = pod(UID, qos_class="Burstable", labels={"team": "a", "app": "web"})
    table, labels = Join(known, pod(OTHER, owner_kind="", owner_name="")).tables.pods({UID, OTHER, HASH}, 0)
    assert table.pod_uid == [HASH, UID, OTHER]
    assert table.namespace == ["", "shop", "shop"]
    assert (table.owner_kind, table.owner_name) == (["", "Deployment", ""], ["", "web", ""])
    assert table.qos_class == ["", "Burstable", ""]
    assert list(table.is_awaited) == [1, 0, 0]
    assert table.api_uid == []
    assert [*zip(labels.pod_uid, labels.label, labels.value, strict=True)] == [
        (UID, "app", "web"),
        (UID, "team", "a"),
    ]
    table, labels = Join(known).tables.pods({UID}, 0)
    assert not table.is_awaited
    assert len(Join(known).tables.pods({OTHER}, 0)[1]) == 0


@pytest.mark.parametrize(
    ("container_id", "pod_uid"),
    [(f"{ident(1)}@1000", UID), (ident(1), f"{UID}@1000"), (f"{ident(1)}@0", UID)],
)
def test_an_id_with_an_owner_gets_nothing(container_id, pod_uid):
    """Any user may make cgroups of any name; nothing of theirs is named, awaited or given a request."""
    engine = ContainerNames()
    engine.answer([container_id], {container_id: "web"})
    found = CgroupIdentity(container_id, "docker" if "@" in container_id else "containerd", pod_uid)
    theirs = app(1, cpu_request_m=100)
    theirs = replace(theirs, container_ids=(container_id,))
    join = Join(pod(UID, theirs), pod(f"{UID}@1000", theirs), of_engine=engine)
    assert join.containers(0, {container_id: found}, pausing=(1,)) == {}
    assert join.containers(GRACE_NS, {container_id: found}, pausing=(1,)) == {}
    assert join.tables.cpu_requests_m({container_id: found}) == {}
    assert join.pods(0, f"{UID}@1000") == {}


def test_a_users_system_container_keeps_the_name_of_its_path():
    """That one is told by the path itself, and the id has the owner."""
    found = CgroupIdentity("lxc-web@1000", "lxc", container_name="web")
    assert Join().containers(0, {"lxc-web@1000": found}) == {"lxc-web@1000": ("web", "", False)}


def test_a_pods_own_container_is_its_pause():
    """In no status of the known pod, and running `pause`; once its status would have come."""
    join = Join(pod(UID, app(1)))
    assert join.containers(0, seen(UID, 1, 2), pausing=(2,)) == {ident(1): APP, ident(2): AWAITED}
    assert join.containers(GRACE_NS, seen(UID, 1, 2)) == {ident(1): APP, ident(2): POD}


def test_a_container_that_runs_pause_has_its_own_name():
    """Placeholder pods run that program; their status comes a moment after their start."""
    join = Join(pod(UID, app()))
    join.containers(0, seen(UID, 1, 2), pausing=(1, 2))
    join.report(S, pod(UID, app(1)))
    assert join.containers(S, seen(UID, 1, 2), pausing=(1, 2)) == {ident(1): APP, ident(2): AWAITED}
    assert join.containers(GRACE_NS, seen(UID, 1, 2), pausing=(1, 2)) == {ident(1): APP, ident(2): POD}


def test_what_is_no_pause():
    """Another program, or a pod that isn't known: its container may be any."""
    join = Join(pod(UID, app(1)))
    found = seen(UID, 2) | seen(OTHER, 3) | seen("", 4)
    for now_ns in (0, GRACE_NS):
        names = join.containers(now_ns, found, pausing=(3, 4))
    assert names == {}


def test_kubernetes_goes_first_in_a_pod():
    """An engine's own name of such a container is made of the pod's; without Kubernetes' word it is used."""
    engine = ContainerNames()
    engine.answer([ident(1), ident(2), ident(3)], {ident(1): "k8s_app", ident(2): "k8s_b", ident(3): "db"})
    join = Join(pod(UID, app(1)), of_engine=engine)
    found = seen(UID, 1, 2, runtime="docker") | seen("", 3, runtime="docker")
    named = {ident(1): APP, ident(3): ("db", "", False)}
    assert join.containers(0, found) == named | {ident(2): AWAITED}
    assert join.containers(GRACE_NS, found) == named | {ident(2): ("k8s_b", "", False)}
    join.report(GRACE_NS, pod(UID, app(1, 2)))
    assert join.containers(GRACE_NS, found) == named | {ident(2): ("k8s_b", "", False)}


def docker_only(engine, grace_ns=GRACE_NS):
    tables = NameTables(grace_ns, None, engine)
    return lambda now_ns, found: containers_of(tables.containers(found, (), now_ns))


def test_an_engine_that_is_late_is_awaited():
    """As long as a cluster is, for containers that may be its own; pods are not."""
    engine = ContainerNames()
    containers = docker_only(engine)
    mine, unknown = seen(UID, 1, runtime="kubernetes"), seen("", 2, 3, runtime="docker")
    others = seen(UID, 4) | seen("", 5, runtime="podman")
    everything = mine | unknown | others
    assert containers(0, everything) == dict.fromkeys([*mine, *unknown], AWAITED)
    engine.answer([ident(1), ident(2)], {ident(1): "web"})
    assert containers(S, everything) == {ident(1): ("web", "", False), ident(3): AWAITED}
    assert containers(GRACE_NS, everything) == {ident(1): ("web", "", False)}
    engine.answer([ident(3)], {ident(3): "late"})
    assert containers(GRACE_NS, everything)[ident(3)] == ("late", "", False)


def test_without_any_source_nothing_is_awaited():
    """Nobody would tell."""
    tables = NameTables(GRACE_NS)
    assert containers_of(tables.containers(seen(UID, 1, runtime="docker"), (), 0)) == {}
    pods, labels = tables.pods({UID}, 0)
    assert len(pods) == len(labels) == 0
    assert tables.cpu_requests_m(seen(UID, 1)) == {}


def test_what_is_forgotten_begins_anew():
    """Cgroups are forgotten five minutes after their end; an id that comes back then is another life's."""
    join = Join()
    join.containers(0, seen(UID, 1))
    join.containers(GRACE_NS, {})
    assert join.containers(2 * GRACE_NS, seen(UID, 1)) == {ident(1): AWAITED}


def test_names_are_safe():
    """They come from a server."""
    join = Join(pod(UID, app(1, name="a\x1b[2J"), name="p\n"))
    assert join.containers(0, seen(UID, 1))[ident(1)][0] == "a\\x1b[2J"
    assert join.pods(0, UID)[UID][0] == "p\\x0a"
