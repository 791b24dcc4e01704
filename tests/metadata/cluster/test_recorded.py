# SPDX-License-Identifier: Apache-2.0
"""A real API server's answers (recorded/): our code reads them, and the tests' own server resembles them."""

import functools
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from services.metadata.cluster import answers
from services.metadata.cluster.pod import CONTAINER, EPHEMERAL, INIT, SIDECAR
from services.metadata.cluster.read_pod import read_pod

from . import objects
from .server import LIST, Cluster

RECORDED = Path(__file__).parent / "recorded"
A, B = "a" * 64, "b" * 64


def recorded(name: str) -> dict:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="ascii"))


def body(name: str) -> bytes:
    return json.dumps(recorded(name)["body"]).encode()


def lines(name: str) -> list[bytes]:
    return [json.dumps(event).encode() for event in recorded(name)["events"]]


def read(data: bytes):
    return read_pod(answers.decode(bytes(data)), ("app",))


class TestOurCode:
    def test_reads_a_list(self):
        """Names, ids, requests and owners of the pods in it."""
        page = answers.page(body("list"))
        first, second = sorted(map(read, page.items), key=lambda pod: pod.name)
        assert (page.version, page.more) == ("1000", "")
        assert (first.name, first.namespace, first.qos_class, first.labels) == (
            "web-1",
            "default",
            "Burstable",
            {"app": "web"},
        )
        (container,) = first.containers
        assert (container.name, container.kind, container.container_ids, container.cpu_request_m) == (
            "web",
            CONTAINER,
            (A,),
            250,
        )
        assert (second.owner_kind, second.owner_name) == ("ReplicaSet", "web-5d9c7b8f6")
        assert second.containers[0].container_ids == ()

    def test_reads_pages_and_an_empty_list(self):
        """A page says that there is more; the last one does not."""
        first, last, empty = (
            answers.page(body(name)) for name in ("list_page_1", "list_page_2", "list_empty")
        )
        assert [len(page.items) for page in (first, last, empty)] == [1, 1, 0]
        assert [page.more for page in (first, last, empty)] == ["more", "", ""]

    def test_reads_a_watch(self):
        """Added, changed and deleted pods, a restarted container's two ids, and a bookmark."""
        events = [answers.event(line) for line in lines("watch")]
        kinds = [event.type for event in events]
        assert kinds[:3] == [answers.MODIFIED, answers.DELETED, answers.ADDED]
        assert answers.BOOKMARK in kinds
        assert read(events[0].data).containers[0].container_ids == (B, A)
        assert {event.version for event in events if event.type == answers.BOOKMARK} == {"1000"}

    def test_reads_that_a_version_is_too_old(self):
        """In a watch it is an event of an answer with status 200."""
        (event,) = (answers.event(line) for line in lines("watch_expired"))
        assert (event.type, event.code, event.reason) == (answers.ERROR, 410, "Expired")
        assert recorded("list_expired")["status"] == 410

    def test_reads_kinds_of_newer_versions(self):
        """Sidecar and ephemeral containers."""
        pod = read(body("by_hand_newer"))
        found = {one.name: (one.kind, one.container_ids, one.cpu_request_m) for one in pod.containers}
        assert found == {
            "web": (CONTAINER, (A,), 250),
            "prepare": (INIT, (B,), 1000),
            "mesh": (SIDECAR, ("c" * 64,), 50),
            "debugger-x7k2p": (EPHEMERAL, ("d" * 64,), 0),
        }


@pytest.fixture
def server(authority, certificate):
    """The tests' own server with two pods."""
    own = Cluster(authority, certificate=certificate)
    own.put(objects.pod("web-1"))
    own.put(objects.pod("web-2"))
    yield own
    own.stop()


def ask(server: Cluster, path: str, token: str, **query: str) -> tuple[int, bytes]:
    """(status, body) of an answer; of a watch, what comes until the server ends it."""
    url = f"https://127.0.0.1:{server.port}{path}?{urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(server.authority.ca_file))
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def misfits(own, real, where: str = "") -> list[str]:
    """Where the own answer has something that the real one has not, or of another type. Values may differ."""
    if isinstance(own, dict) and isinstance(real, dict):
        unknown = [f"{where}.{key}: not in the real one" for key in own if key not in real]
        shared = [misfits(own[key], real[key], f"{where}.{key}") for key in own if key in real]
        return [*unknown, *(one for found in shared for one in found)]
    if isinstance(own, list) and isinstance(real, list):
        whole = functools.reduce(merged, real)
        return [one for element in own for one in misfits(element, whole, f"{where}[]")]
    return [] if type(own) is type(real) else [f"{where}: {type(own).__name__}, really {type(real).__name__}"]


def merged(one, other):
    """One value with the keys of both: of lists, one element with the keys of all elements."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {key: merged(one[key], value) if key in one else value for key, value in other.items()}
    if isinstance(one, list) and isinstance(other, list):
        return [functools.reduce(merged, [*one, *other])] if one or other else []
    return other if one is None else one


# What a pod has of its author's own making.
_FREE = (".labels.", ".annotations.")


def check_resembles(own, real):
    assert [one for one in misfits(own, real) if not any(part in one for part in _FREE)] == []


class TestOwnServer:
    @pytest.mark.parametrize(
        ("name", "query"),
        [("list", {}), ("list_page_1", {"limit": "1"}), ("list_page_2", {"limit": "1", "continue": "1"})],
    )
    def test_lists(self, server, name, query):
        """A list and its pages have no key that the real ones lack."""
        real = recorded(name)
        status, data = ask(
            server, "/api/v1/pods", "token-1", fieldSelector=f"spec.nodeName={objects.NODE}", **query
        )
        assert status == real["status"]
        own = json.loads(data)
        check_resembles(own | {"items": []}, real["body"])
        check_resembles(own["items"], recorded("list")["body"]["items"])

    def test_watches(self, server):
        """Events of each type have no key that the real ones lack."""
        since = server.version
        server.put(objects.pod("web-1", restarts=1))
        server.delete(objects.uid_of("web-2"))
        server.bookmark()
        server.say_gone()
        query = {
            "watch": "1",
            "resourceVersion": str(since),
            "allowWatchBookmarks": "true",
            "fieldSelector": f"spec.nodeName={objects.NODE}",
        }
        events = _watched(server, query)
        real: dict = {}
        for event in recorded("watch")["events"] + recorded("watch_expired")["events"]:
            real[event["type"]] = event
        pods = [real[kind]["object"] for kind in ("MODIFIED", "DELETED", "ADDED")]
        pods += recorded("list")["body"]["items"]
        whole = functools.reduce(merged, pods)
        assert [event["type"] for event in events] == ["MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
        for event in events:
            found = real[event["type"]]
            check_resembles(event, found | {"object": whole} if found["object"] in pods else found)

    @pytest.mark.parametrize(
        ("name", "path", "token", "rights"),
        [
            ("unauthorized", "/api/v1/pods", "no-such-token", {LIST}),
            ("forbidden", "/api/v1/pods", "token-1", set()),
            ("node_unknown", "/api/v1/nodes/no-such-node", "token-1", None),
        ],
    )
    def test_refusals(self, server, name, path, token, rights):
        """Status and body are as the real ones'."""
        if rights is not None:
            server.rights = rights
        real = recorded(name)
        status, data = ask(server, path, token)
        assert status == real["status"]
        check_resembles(json.loads(data), real["body"])


def _watched(server: Cluster, query: dict[str, str]) -> list[dict]:
    """Events up to the first error, after which the server ends its watches."""
    url = f"https://127.0.0.1:{server.port}/api/v1/pods?{urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer token-1"})
    context = ssl.create_default_context(cafile=str(server.authority.ca_file))
    events = []
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        for line in answer:
            events.append(json.loads(line))
            if events[-1]["type"] == "ERROR":
                break
        server.end_watches()
    return events
