# SPDX-License-Identifier: Apache-2.0
"""List and watch against a server of ours: what is known, and what goes over the wire."""

import time

from .objects import NODE, pod, uid_of
from .server import LIST, NODES, WATCH
from .world import eventually, names


def test_the_pods_of_this_node_are_known(world):
    """Those of others are not asked for, and not taken if a server sends them."""
    world.cluster.put(pod("web-1"))
    world.cluster.put(pod("other", node="n8"))
    source = world.open()
    assert not source.has_told()
    eventually(source.has_told, source)
    assert names(source) == {"web-1"}
    assert source.state().up
    (listed,) = world.cluster.seen(LIST)
    assert listed.query["fieldSelector"] == f"spec.nodeName={NODE}"
    assert [listed.token] == ["token-1"]


def test_changes_come_by_the_watch(world):
    """Added, changed and deleted pods, after one list."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    first = source.pods()
    world.cluster.put(pod("web-2"))
    eventually(lambda: names(source) == {"web-1", "web-2"}, source)
    (before,) = first[uid_of("web-1")].containers
    world.cluster.put(pod("web-1", restarts=1))
    eventually(lambda: source.pods()[uid_of("web-1")].containers != (before,), source)
    world.cluster.delete(uid_of("web-2"))
    eventually(lambda: names(source) == {"web-1"}, source)
    assert len(world.cluster.seen(LIST)) == 1
    assert first.keys() == {uid_of("web-1")}, "what was handed out stays as it was"


def test_a_pod_that_moves_away_is_forgotten(world):
    """A server that sends another node's pod does no harm."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    world.cluster.put(pod("web-2"))
    eventually(lambda: "web-2" in names(source), source)
    stray = pod("web-2", node="n8")
    world.cluster.line(line("MODIFIED", stray))
    eventually(lambda: names(source) == {"web-1"}, source)


def line(kind, found):
    import json  # noqa: PLC0415

    return json.dumps({"type": kind, "object": found}).encode()


def test_nothing_new_is_the_same_object(world):
    """So that metadata needs no comparison: bookmarks and equal pods change nothing."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    before = source.pods()
    world.cluster.put(pod("web-1"))
    world.cluster.bookmark()
    world.cluster.end_watches()
    eventually(lambda: len(world.cluster.seen(WATCH)) == 2, source)
    assert world.cluster.seen(WATCH)[-1].query["resourceVersion"] == str(world.cluster.version)
    assert source.pods() is before


def test_a_watch_goes_on_where_the_former_one_ended(world):
    """The version is kept over an end by the server, a cut, and a server that was away."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    for number, end in enumerate((world.cluster.end_watches, world.cluster.cut), start=2):
        eventually(lambda number=number: len(world.cluster.seen(WATCH)) >= number - 1, source)
        world.cluster.bookmark()
        end()
        world.cluster.put(pod(f"web-{number}"))
        eventually(lambda number=number: f"web-{number}" in names(source), source)
    world.cluster.stop()
    eventually(lambda: not source.state().up)
    world.cluster.put(pod("web-9"))
    assert names(source) == {"web-1", "web-2", "web-3"}
    world.cluster.start()
    eventually(lambda: "web-9" in names(source), source)
    assert source.state().up
    assert len(world.cluster.seen(LIST)) == 1
    versions = [int(one.query["resourceVersion"]) for one in world.cluster.seen(WATCH)]
    assert versions == sorted(versions)
    assert versions[-1] > versions[0]
    assert all(one.query["allowWatchBookmarks"] == "true" for one in world.cluster.seen(WATCH))


def test_a_long_list_comes_in_parts(world):
    """All pages make the list."""
    world.cluster.page_pods = 7
    wanted = {f"web-{number}" for number in range(40)}
    for name in sorted(wanted):
        world.cluster.put(pod(name))
    source = world.open()
    eventually(source.has_told, source)
    assert names(source) == wanted
    assert len(world.cluster.seen(LIST)) == 6


def test_410_as_a_status_lists_anew(world):
    """The version was compacted away while the watch was interrupted; meanwhile nothing is forgotten."""
    world.cluster.put(pod("web-1"))
    world.cluster.put(pod("web-2"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.fault, world.cluster.fault_at = "hang", LIST
    world.cluster.delete(uid_of("web-1"))
    eventually(lambda: names(source) == {"web-2"}, source)
    world.cluster.is_silent = True
    world.cluster.delete(uid_of("web-2"))
    world.cluster.put(pod("web-3"))
    world.cluster.compact()
    world.cluster.end_watches()
    eventually(lambda: len(world.cluster.seen(LIST)) == 2, source)
    assert names(source) == {"web-2"}, "until the new list is whole"
    world.cluster.mend()
    eventually(lambda: names(source) == {"web-3"}, source)


def test_410_as_an_event_lists_anew(world):
    """In the midst of a watch. At once, without a word: it is normal."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.say_gone()
    eventually(lambda: len(world.cluster.seen(WATCH)) == 2, source)
    assert len(world.cluster.seen(LIST)) == 2
    assert source.state().up
    assert world.counted == {}


def test_410_for_ever_is_no_storm(world):
    """A server that says so to each watch is asked ever more seldom."""
    world.cluster.put(pod("web-1"))
    world.cluster.fault, world.cluster.fault_at = "410", WATCH
    source = world.open()
    began_s = time.monotonic()
    eventually(lambda: time.monotonic() > began_s + 1, source)
    assert 5 < len(world.cluster.seen(LIST)) < 25
    world.cluster.mend()
    eventually(lambda: world.cluster.seen(WATCH)[-1], source)
    world.cluster.put(pod("web-2"))
    eventually(lambda: "web-2" in names(source), source)


def test_a_half_read_list_is_not_taken(world):
    """The second page fails: the pods of before stay, all of them."""
    for number in range(6):
        world.cluster.put(pod(f"web-{number}"))
    world.cluster.page_pods = 4
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    before = source.pods()
    for number in range(6, 12):
        world.cluster.pods[uid_of(f"web-{number}")] = pod(f"web-{number}")
    fail_from = len(world.cluster.seen(LIST)) + 1
    page = world.cluster.page

    def second_fails(node, limit, start):
        return page(node, limit, start) if start == 0 else b'{"kind": "PodList", "items": ['

    world.cluster.page = second_fails
    world.cluster.say_gone()
    eventually(lambda: len(world.cluster.seen(LIST)) > fail_from, source)
    eventually(lambda: not source.state().up)
    assert source.pods() is before
    world.cluster.page = page
    eventually(lambda: len(names(source)) == 12, source)


def test_a_node_that_the_cluster_lacks_is_said(world):
    """The list of a wrong name is empty for ever."""
    source = world.open(node="n9")
    eventually(lambda: "the cluster has no node n9" in source.state().reason)
    assert not source.state().up
    assert not source.has_told()
    assert world.counted["kubernetes_no_node"] >= 1


def test_without_the_right_to_see_nodes_it_is_asked(world):
    """An empty list is doubted; the first pod ends that."""
    world.cluster.rights -= {NODES}
    source = world.open()
    eventually(lambda: f"no pod on node {NODE}: is this its name" in source.state().reason)
    world.cluster.put(pod("web-1"))
    eventually(lambda: source.state().up)
    assert names(source) == {"web-1"}
    assert source.has_told()


def test_an_empty_node_that_exists_is_fine(world):
    source = world.open()
    eventually(lambda: source.state().up)
    assert source.has_told()
    assert source.pods() == {}
    assert len(world.cluster.seen(NODES)) == 1


def test_a_name_that_no_node_can_have_is_never_asked_for(world):
    """A host's name with capitals, for example, which is the default outside of a cluster."""
    world.cluster.nodes.add("n7")
    source = world.open(node="N7,metadata.name=x")
    eventually(lambda: "can't be a node's name" in source.state().reason)
    assert world.cluster.requests == []
