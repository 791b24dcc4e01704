# SPDX-License-Identifier: Apache-2.0
"""Each fault of a server: the reason that is shown, pods that stay known, and the recovery.

The table in docs/kubernetes.md is compared with FAULTS.
"""

import re
import time
from pathlib import Path

import pytest

from services.metadata.cluster.client import Limits

from .objects import pod, uid_of
from .server import KUBELET, LIST, WATCH
from .test_api_server import line
from .world import eventually, names

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"
# Fault of the server → what is said, and counted.
FAULTS = {
    "hang": ("no answer within 1 s", "kubernetes_unreachable"),
    "drip": ("no answer within 1 s", "kubernetes_unreachable"),
    "close": ("no proper HTTP answer", "kubernetes_unreachable"),
    "cut": ("no proper HTTP answer", "kubernetes_unreachable"),
    "huge": ("expected an answer of at most 33554432 bytes, got more", "kubernetes_too_large"),
    "redirect": ("HTTP 302: SERVER redirects elsewhere, which isn't followed", "kubernetes_refused"),
    "401": ("HTTP 401: SERVER refuses the token of the service account", "kubernetes_refused"),
    "403": ("HTTP 403: the service account lacks a right: grant `RIGHT`", "kubernetes_refused"),
    "404": ("HTTP 404: SERVER has no such path", "kubernetes_refused"),
    "429": ("HTTP 429: SERVER can't answer now", "kubernetes_refused"),
    "500": ("HTTP 500: SERVER can't answer now", "kubernetes_refused"),
    "503": ("HTTP 503: SERVER can't answer now", "kubernetes_refused"),
    "418": ("HTTP 418: unexpected", "kubernetes_refused"),
    "invalid": ("expected a list of pods in JSON, got something else", "kubernetes_bad_answer"),
    "empty": ("expected a list of pods in JSON, got something else", "kubernetes_bad_answer"),
    "binary": ("expected a list of pods in JSON, got something else", "kubernetes_bad_answer"),
    "list": ("expected a list of pods in JSON, got something else", "kubernetes_bad_answer"),
    "deep": ("expected a list of pods in JSON, got something else", "kubernetes_bad_answer"),
    "not-a-list": ("expected a list of pods (kind PodList), got something else", "kubernetes_bad_answer"),
}
_RIGHTS = {
    "api": "list` on `pods",
    "kubelet": "get` on `nodes/pods",
    "kubelet-legacy": "get` on `nodes/proxy",
}


def said_of(way, fault):
    server = "the API server" if way == "api" else "the kubelet"
    text, event = FAULTS[fault]
    return text.replace("SERVER", server).replace("RIGHT`", f"{_RIGHTS[way]}`"), event


@pytest.mark.parametrize("way", ["api", "kubelet"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said_and_mended(world, fault, way):
    """From the start on. The reason has nothing that the server wrote."""
    world.cluster.put(pod("web-1"))
    world.cluster.fault, world.cluster.fault_at = fault, LIST if way == "api" else KUBELET
    text, event = said_of(way, fault)
    source = world.open(way, period_s=1.0, **kubelet(world, way))
    eventually(lambda: text in source.state().reason, source)
    assert not source.state().up
    assert not source.has_told()
    assert world.counted[event] >= 1
    assert "s3cret" not in str(world.said)
    assert "token-1" not in str(world.said)
    world.cluster.mend()
    eventually(lambda: source.state().up)
    assert names(source) == {"web-1"}
    assert world.back == 1


def kubelet(world, way):
    """Settings by which a kubelet is reached."""
    if way == "api":
        return {}
    return {"kubelet_address": f"https://localhost:{world.cluster.port}", "kubelet_verify": False}


@pytest.mark.parametrize(
    "fault", ["hang", "close", "redirect", "401", "403", "404", "429", "500", "503", "418"]
)
def test_a_fault_of_the_watch_loses_no_pod(world, fault):
    """While it lasts, pods are as they were; then all that happened comes, without a new list."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.fault, world.cluster.fault_at = fault, WATCH
    world.cluster.end_watches()
    text = said_of("api", fault)[0].replace("`list`", "`watch`")
    eventually(lambda: text in source.state().reason, source)
    assert names(source) == {"web-1"}
    assert source.has_told()
    world.cluster.put(pod("web-2"))
    world.cluster.mend()
    eventually(lambda: source.state().up and names(source) == {"web-1", "web-2"})
    assert len(world.cluster.seen(LIST)) == 1


@pytest.mark.parametrize("fault", ["refused", "403", "close"])
def test_a_source_that_fails_stays_down(world, fault):
    """Until the server has answered: no attempt makes it look up for a moment."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    if fault == "refused":
        world.cluster.stop()
    else:
        world.cluster.fault, world.cluster.fault_at = fault, WATCH
        world.cluster.end_watches()
    eventually(lambda: not source.state().up)
    until_s = time.monotonic() + 0.6
    while time.monotonic() < until_s:
        assert not source.state().up
    assert sum(world.counted.values()) > 2
    assert world.back == 0


def test_the_reasons_are_in_the_page():
    """docs/kubernetes.md has a row for each fault, with the words that are shown."""
    table = (
        PAGE.read_text(encoding="utf-8").split("<!-- table: faults -->")[1].split("<!-- end of table -->")[0]
    )
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.strip().splitlines()[2:]]
    documented = {fault: row[2] for row in rows for fault in re.findall("`([a-z0-9-]+)`", row[1])}
    assert documented.keys() >= FAULTS.keys()
    for fault, (text, _event) in FAULTS.items():
        plain = text.replace("SERVER", "the API server").replace("1 s", "20 s").partition(": grant")[0]
        assert plain in documented[fault], fault


def test_a_watch_that_is_silent_too_long_lists_anew(world):
    """A dead connection may have lost anything: what happened meanwhile comes with the list."""
    world.cluster.put(pod("web-1"))
    source = world.open(limits=Limits(answer_s=1.0, silence_s=0.3, watch_s=20.0))
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.is_silent = True
    world.cluster.put(pod("web-2"))
    eventually(lambda: "web-2" in names(source), source)
    assert len(world.cluster.seen(LIST)) >= 2
    assert world.counted["kubernetes_silent"] >= 1


def test_bytes_without_an_event_are_silence(world):
    """A watch that drips would otherwise hold the thread for ever."""
    world.cluster.put(pod("web-1"))
    source = world.open(limits=Limits(answer_s=1.0, silence_s=0.4, watch_s=20.0))
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    until_s = time.monotonic() + 5
    world.cluster.without_ends = True
    while len(world.cluster.seen(LIST)) < 2:
        world.cluster.line(b"x")
        source.state()
        time.sleep(0.02)
        assert time.monotonic() < until_s
    eventually(lambda: world.counted.get("kubernetes_silent"), source)


def test_a_watch_that_never_ends_by_itself_is_ended(world):
    """A server that ignores timeoutSeconds: the watch goes on with a new request."""
    world.cluster.put(pod("web-1"))
    source = world.open(limits=Limits(answer_s=0.2, silence_s=5.0, watch_s=0.3))
    eventually(source.has_told, source)
    until_s = time.monotonic() + 5
    while len(world.cluster.seen(WATCH)) < 2:
        world.cluster.bookmark()
        source.state()
        time.sleep(0.02)
        assert time.monotonic() < until_s
    assert source.state().up


def test_a_watch_that_ends_at_once_is_no_storm(world):
    """Without an event and without a reason."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    began_s = time.monotonic()
    while time.monotonic() < began_s + 1:
        world.cluster.end_watches()
        source.state()
        time.sleep(0.002)
    assert len(world.cluster.seen(WATCH)) < 25
    assert source.state().up


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"\xff\xfe", b'{"type": "NEWS", "object": {}}', b"[" * 100_000]
)
def test_an_event_that_is_none_lists_anew(world, data):
    """What it was is lost, so the list has to say."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.line(data)
    world.cluster.put(pod("web-2"))
    eventually(lambda: "web-2" in names(source), source)
    assert world.counted["kubernetes_bad_answer"] == 1
    assert len(world.cluster.seen(LIST)) == 2


def test_another_error_of_a_watch_lists_anew(world):
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.line(b'{"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "s3cret"}}')
    eventually(lambda: len(world.cluster.seen(WATCH)) == 2, source)
    assert world.said == ["the API server ended the watch with an error (500)"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda found: found["metadata"].pop("name"), "expected a pod with a name and a uid"),
        (lambda found: found["metadata"].update(filling="x" * (4 << 20)), "of at most 3145728 bytes"),
        (lambda found: found["metadata"].update(filling=[1] * 60_000), "of at most 50000 elements"),
    ],
    ids=["no-name", "huge", "many"],
)
@pytest.mark.parametrize("way", ["api", "watch", "kubelet"])
def test_an_absurd_object_takes_no_other_with_it(world, spoil, said, way):
    """It is left out, counted, and said; in a list and in a watch."""
    absurd = pod("absurd")
    spoil(absurd)
    world.cluster.put(pod("web-1"))
    source = world.open("api") if way == "watch" else None
    if source is not None:
        eventually(source.has_told, source)
        eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.put(absurd)
    world.cluster.put(pod("web-2"))
    source = source or world.open(way, period_s=1.0, **kubelet(world, way))
    eventually(lambda: names(source) == {"web-1", "web-2"}, source)
    eventually(lambda: "kubernetes_object_refused" in world.counted, source)
    assert said in world.said[-1] or said in world.said[0]
    assert source.state().up


def test_too_many_pods_are_said(world, monkeypatch):
    """A server that ignores the field selector, or a list without end."""
    monkeypatch.setattr("services.metadata.cluster.answers.LIST_OBJECTS_MAX", 10)
    for number in range(11):
        world.cluster.put(pod(f"web-{number}"))
    world.cluster.page_pods = 4
    source = world.open()
    eventually(lambda: "expected at most 10 pods of node n7, got more" in source.state().reason)
    assert source.pods() == {}


def rejected(name):
    """A pod that the kubelet had no room for: it never runs, and its object stays for long."""
    return pod(name) | {"status": {"phase": "Failed", "reason": "OutOfcpu", "qosClass": "Burstable"}}


def test_pods_that_never_ran_take_nobodys_place(world, monkeypatch):
    """Anybody who may make pods can make thousands of them on a node that has no room."""
    monkeypatch.setattr("services.metadata.cluster.answers.LIST_OBJECTS_MAX", 10)
    for number in range(30):
        world.cluster.put(rejected(f"never-{number:02}"))
    world.cluster.put(pod("web-1"))
    world.cluster.page_pods = 4
    source = world.open()
    eventually(lambda: names(source) == {"web-1"}, source)
    for number in range(30, 60):
        world.cluster.put(rejected(f"never-{number:02}"))
    world.cluster.put(pod("web-2"))
    eventually(lambda: names(source) == {"web-1", "web-2"}, source)
    assert (source.state().up, world.counted) == (True, {})


def test_pages_that_are_too_large_get_smaller(world, monkeypatch):
    """A hundred pods may have a megabyte of annotations each."""
    monkeypatch.setattr("services.metadata.cluster.client.BODY_BYTES_MAX", 200_000)
    for number in range(60):
        world.cluster.put(pod(f"web-{number}", filling=8000))
    source = world.open()
    eventually(source.has_told, source)
    assert len(names(source)) == 60
    assert world.counted == {"kubernetes_too_large": 1}
    assert [one.query["limit"] for one in world.cluster.seen(LIST)] == ["100", *["10"] * 6]


def test_the_server_may_ask_to_be_left_alone(world):
    """Retry-After counts, but for no longer than the longest wait."""
    world.cluster.put(pod("web-1"))
    world.cluster.fault, world.cluster.fault_at, world.cluster.retry_after = "429", LIST, "3600"
    source = world.open()
    eventually(lambda: not source.state().up and len(world.cluster.seen(LIST)) >= 5)


def test_a_pod_is_known_again_after_all(world):
    """Deleted and made anew with the same name while the server was away."""
    world.cluster.put(pod("db-0", uid="old"))
    source = world.open()
    eventually(source.has_told, source)
    world.cluster.stop()
    eventually(lambda: not source.state().up)
    world.cluster.delete("old")
    world.cluster.put(pod("db-0", uid="new"))
    world.cluster.start()
    eventually(lambda: set(source.pods()) == {"new"}, source)
    assert uid_of("db-0") not in source.pods()
    assert line("ADDED", pod("db-0"))
