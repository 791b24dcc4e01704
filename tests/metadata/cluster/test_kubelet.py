# SPDX-License-Identifier: Apache-2.0
"""The kubelet, asked once each period."""

import time

from .objects import pod, uid_of
from .server import KUBELET
from .test_faults import kubelet
from .world import eventually, names


def test_pods_come_and_go(world):
    world.cluster.put(pod("web-1"))
    source = world.open("kubelet", period_s=1.0, **kubelet(world, "kubelet"))
    eventually(source.has_told, source)
    before = source.pods()
    world.cluster.put(pod("web-2"))
    eventually(lambda: names(source) == {"web-1", "web-2"}, source)
    assert source.pods()[uid_of("web-1")] is before[uid_of("web-1")]
    world.cluster.delete(uid_of("web-1"))
    eventually(lambda: names(source) == {"web-2"}, source)


def test_one_connection_is_kept(world):
    """A handshake costs more than the answer. Nothing new is the same object."""
    world.cluster.put(pod("web-1"))
    source = world.open("kubelet", period_s=1.0, **kubelet(world, "kubelet"))
    eventually(lambda: world.cluster.seen(KUBELET), source)
    eventually(source.has_told, source)
    before = source.pods()
    eventually(lambda: len(world.cluster.seen(KUBELET)) == 3, source)
    assert world.cluster.connections == 1
    assert source.pods() is before


def test_a_connection_that_the_kubelet_closes_between_requests_is_no_fault(world):
    world.cluster.put(pod("web-1"))
    source = world.open("kubelet", period_s=1.0, **kubelet(world, "kubelet"))
    eventually(source.has_told, source)
    world.cluster.cut()
    eventually(lambda: len(world.cluster.seen(KUBELET)) == 3, source)
    assert world.counted.keys() <= {"kubernetes_unverified"}


def test_a_connection_that_is_closed_at_the_request_is_no_fault(world):
    """The kubelet's idle time is over just then: the request is sent again, once, over a new one."""
    world.cluster.put(pod("web-1"))
    world.cluster.fault = "close-kept"
    source = world.open("kubelet", period_s=1.0, **kubelet(world, "kubelet"))
    eventually(lambda: len(world.cluster.seen(KUBELET)) == 3, source)
    eventually(lambda: world.cluster.connections == 2, source)
    eventually(lambda: len(world.cluster.seen(KUBELET)) == 5, source)
    assert world.counted.keys() <= {"kubernetes_unverified"}


def test_it_is_asked_once_a_period(world):
    source = world.open("kubelet", period_s=1.0, **kubelet(world, "kubelet"))
    began_s = time.monotonic()
    eventually(lambda: len(world.cluster.seen(KUBELET)) == 3, source)
    assert 1.8 < time.monotonic() - began_s < 4


def test_legacy_warns_of_its_right(world):
    """nodes/proxy allows running commands in every container."""
    world.cluster.put(pod("web-1"))
    source = world.open("kubelet-legacy", **kubelet(world, "kubelet"))
    eventually(lambda: source.state().up)
    assert world.counted["kubernetes_legacy"] == 1
    assert any("running commands in every container" in one for one in world.said)


def test_the_missing_right_is_named(world):
    """Another one for each of the two ways."""
    world.cluster.rights -= {KUBELET}
    for way, right in (("kubelet", "nodes/pods"), ("kubelet-legacy", "nodes/proxy")):
        source = world.open(way, **kubelet(world, "kubelet"))
        eventually(lambda source=source, right=right: f"grant `get` on `{right}`" in source.state().reason)
