# SPDX-License-Identifier: Apache-2.0
from services.metadata import directory
from services.metadata.cluster.pod_names import REMEMBERED_NS, NamedContainer, PodNames

from .pod_objects import UID, ident
from .pods import S, app, by_uid, pod

OTHER = "9" + UID[1:]
MINUTE = 60 * S


def test_pods_are_remembered_as_long_as_cgroups():
    """Both for the last energy of what has ended."""
    assert REMEMBERED_NS == directory.REMEMBERED_NS


def test_a_pod_is_what_it_was_first_reported_as():
    """Labels and owner make up series: what changes later would tear them."""
    names, first = PodNames(), pod(labels={"team": "a"}, owner_name="web")
    names.take(by_uid(first), 0, has_told=True)
    names.take(by_uid(pod(labels={"team": "b"}, owner_name="other", name="x")), S, has_told=True)
    assert names.pod(UID) == first
    assert names.pod(OTHER) is None


def test_a_request_is_the_newest():
    """It is a weight and no label, and a pod may be resized."""
    names = PodNames()
    names.take(by_uid(pod(UID, app(1, cpu_request_m=100))), 0, has_told=True)
    names.take(by_uid(pod(UID, app(1, cpu_request_m=300))), S, has_told=True)
    assert names.container(UID, ident(1)) == NamedContainer("app", "container", 300)


def test_ids_of_former_runs_keep_their_name():
    """A status has the ids of two runs; a container may have many within a minute."""
    names = PodNames()
    for number in range(1, 6):
        names.take(by_uid(pod(UID, app(number, number - 1))), number * S, has_told=True)
    assert {names.container(UID, ident(number)).name for number in range(6)} == {"app"}
    for minute in range(1, 5):
        names.forget({UID}, set(), minute * MINUTE)
    assert names.container(UID, ident(3)) is not None
    names.forget({UID}, {ident(2)}, 6 * MINUTE)
    assert names.container(UID, ident(3)) is None  # forgotten, for a pod lives for months
    assert names.container(UID, ident(2)) is not None  # still in use
    assert names.container(UID, ident(4)) is not None  # in the status
    assert names.container(UID, ident(5)) is not None


def test_an_id_counts_in_its_own_pod_only():
    """A status, which others than the kubelet may write, names no container of another pod."""
    names = PodNames()
    names.take(by_uid(pod(UID, app(1)), pod(OTHER, app(2))), 0, has_told=True)
    assert names.container(OTHER, ident(1)) is None


def test_a_deleted_pod_is_remembered_for_a_while():
    """Five minutes from when it was last reported, and for as long as anything of it is in use."""
    names = PodNames()
    names.take(by_uid(pod(UID, app(1)), pod(OTHER, app(2))), 0, has_told=True)
    names.take({}, 100 * MINUTE, has_told=True)
    names.forget({OTHER}, set(), 104 * MINUTE)
    assert names.pod(UID) is not None
    names.forget({OTHER}, set(), 106 * MINUTE)
    assert names.pod(UID) is None
    assert names.container(UID, ident(1)) is None
    assert names.pod(OTHER) is not None
    names.forget(set(), set(), 108 * MINUTE)
    assert names.pod(OTHER) is None


def test_a_pod_that_is_reported_is_never_forgotten():
    """Though nothing of it runs, and nothing has changed for hours."""
    names, pods = PodNames(), by_uid(pod(UID, app(1)))
    names.take(pods, 0, has_told=True)
    for hour in range(1, 5):
        names.take(pods, hour * 60 * MINUTE, has_told=True)
        names.forget(set(), set(), hour * 60 * MINUTE)
    assert names.container(UID, ident(1)) is not None
    names.take({}, 300 * MINUTE, has_told=True)
    names.forget(set(), set(), 304 * MINUTE)
    assert names.pod(UID) is not None


def test_a_name_that_changes_hands():
    """A pod is deleted, and another one of the same name is there at once: each uid has its own."""
    names = PodNames()
    names.take(by_uid(pod(UID, app(1))), 0, has_told=True)
    names.take(by_uid(pod(OTHER, app(2))), S // 2, has_told=True)
    assert names.pod(UID).name == names.pod(OTHER).name == "web-1"
    assert names.container(UID, ident(1)).name == names.container(OTHER, ident(2)).name == "app"


def test_what_could_not_be_read_is_said_once():
    """Not with each event of the pod; again if it is something else."""
    names = PodNames()
    assert names.take(by_uid(pod(trouble="a")), 0, has_told=True) == ["pod shop/web-1: a"]
    assert names.take(by_uid(pod(UID, app(1), trouble="a")), S, has_told=True) == []
    assert names.take(by_uid(pod(UID, app(1), trouble="b")), S, has_told=True) == ["pod shop/web-1: b"]
    assert names.take(by_uid(pod(UID, app(1), trouble="b")), S, has_told=True) == []
    assert names.take(by_uid(pod(UID, app(1))), S, has_told=True) == []


def test_that_the_cluster_has_told_holds():
    """Once it has, requests stay known, though the source begins anew."""
    names = PodNames()
    names.take({}, 0, has_told=False)
    assert not names.has_told
    names.take({}, 0, has_told=True)
    names.take({}, 0, has_told=False)
    assert names.has_told
