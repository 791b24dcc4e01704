# SPDX-License-Identifier: Apache-2.0
"""The HTTP server without a free file descriptor."""

import contextlib
import os
import resource
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from services.exporter import http

from .test_http import TIMEOUT_S, ask, clock, everything_from, raw, server

__all__ = ["clock", "server"]  # fixtures
_REQUEST = b"GET /a HTTP/1.0\r\n\r\n"


@contextlib.contextmanager
def no_descriptors():
    """Have this process run out of descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, before[1]))
    filler = []
    try:
        with contextlib.suppress(OSError):
            while True:
                filler.append(os.dup(0))
        yield
    finally:
        for descriptor in filler:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def accepts(monkeypatch):
    """Times of all attempts to accept a connection."""
    times = []
    accept = http.TCPServer.get_request

    def counted(self):
        times.append(time.monotonic())
        return accept(self)

    monkeypatch.setattr(http.TCPServer, "get_request", counted)
    return times


def connected(server, client):
    host, port = server.address.split(":")
    client.settimeout(TIMEOUT_S)
    client.connect((host, int(port)))
    client.sendall(_REQUEST)


def test_without_descriptors_it_does_not_spin(server, accepts):
    """While a connection waits that can't be accepted, attempts are rare; it is answered in the end."""
    with socket.socket() as client:
        with no_descriptors():
            connected(server, client)
            deadline_s = time.monotonic() + TIMEOUT_S
            while len(accepts) < 5:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
        assert all(later - earlier >= 0.04 for earlier, later in pairwise(accepts[:5]))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        starved = server.take_starved()
        assert starved.startswith("no connection can be accepted: Too many open files; the limit is ")
        assert f"the limit is {limit} " not in starved
        assert everything_from(client).endswith(b"/a False\n")
    assert ask(server)[0] == 200
    assert server.take_starved() == ""
    assert server.take_errors() == []


def test_without_descriptors_the_oldest_connection_makes_room(server):
    """A connection that only waits loses its descriptor to one that has a request."""
    with raw(server, b"GET") as silent, socket.socket() as client:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not server._server._open:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        with no_descriptors():
            connected(server, client)
            assert everything_from(client).endswith(b"/a False\n")
            assert everything_from(silent) == b""
    assert server.cut_off == 1


def test_a_starved_server_closes_at_once(server):
    """Nothing is held up by a pause."""
    with socket.socket() as client, no_descriptors():
        connected(server, client)
        deadline_s = time.monotonic() + TIMEOUT_S
        while not server.take_starved():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        server.close()
    assert not server.alive
