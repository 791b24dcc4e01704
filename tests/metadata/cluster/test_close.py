# SPDX-License-Identifier: Apache-2.0
"""A source ends within a second, and its calls never wait, whatever the cluster does."""

import contextlib
import socket
import threading
import time

import pytest

from services.metadata.cluster.client import Limits

from .objects import pod
from .server import WATCH
from .test_faults import kubelet
from .world import eventually

LONG = Limits(answer_s=60.0, silence_s=60.0, watch_s=60.0)


@pytest.mark.parametrize("way", ["api", "kubelet"])
@pytest.mark.parametrize("fault", ["", "hang", "drip", "huge", "500", "close"])
def test_it_ends_at_once(world, fault, way):
    """In the midst of a request, of a wait, or of a watch; the thread too."""
    for number in range(50):
        world.cluster.put(pod(f"web-{number}"))
    world.cluster.fault = fault
    source = world.open(way, limits=LONG, **kubelet(world, way))
    eventually(lambda: world.cluster.requests, source)
    if not fault and way == "api":
        eventually(lambda: world.cluster.seen(WATCH), source)
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 1
    assert not [one for one in threading.enumerate() if one.name == "kubernetes"]
    source.close()


@pytest.mark.parametrize("kind", ["silent listener", "full listener"])
def test_it_ends_while_it_connects(world, kind):
    """A port that takes the connection and says nothing, and one that doesn't even take it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        for _one in range(3 if kind == "full listener" else 0):
            other = stack.enter_context(socket.socket())
            other.settimeout(0)
            other.connect_ex(("127.0.0.1", port))
        source = world.open(
            "kubelet", limits=LONG, kubelet_address=f"https://127.0.0.1:{port}", kubelet_verify=False
        )
        eventually(lambda: _is_under_way(source), source)
        began_s = time.monotonic()
        assert not source.state().up
        source.close()
        assert time.monotonic() - began_s < 1
        assert not [one for one in threading.enumerate() if one.name == "kubernetes"]


def _is_under_way(source):
    connections = source._rounds._client._connections
    return connections is not None and connections._open is not None


def test_what_the_loop_calls_never_waits(world):
    """While a request hangs."""
    world.cluster.fault = "hang"
    source = world.open(limits=LONG)
    eventually(lambda: world.cluster.requests, source)
    began_s = time.monotonic()
    for _time in range(1000):
        source.pods()
        source.has_told()
        source.state()
    assert time.monotonic() - began_s < 0.5


def test_a_name_that_hangs_holds_nothing_up(world, monkeypatch):
    """getaddrinfo can't be interrupted: the thread is left to end by itself."""
    gate = threading.Event()

    def hang(*_arguments, **_named):
        gate.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("wattline.bounded_tls.socket.getaddrinfo", hang)
    source = world.open("kubelet", kubelet_address="https://kubelet.invalid:10250")
    eventually(lambda: source._rounds._client._connections is not None, source)
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 1
    gate.set()
    source._thread.join(5)
    assert not source._thread.is_alive()
