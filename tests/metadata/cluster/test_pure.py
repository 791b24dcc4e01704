# SPDX-License-Identifier: Apache-2.0
"""The parts that calculate: waits, lines, and what is known."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cluster import answers
from services.metadata.cluster.backoff import Backoff
from services.metadata.cluster.known_pods import KnownPods
from services.metadata.cluster.lines import Lines

from .objects import NODE, pod, uid_of
from .reading import read_pod


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40), st.floats(0, 1e6))
def test_waits_grow_and_are_bounded(chances, asked_s):
    """From half a second to 30 s, also where a server asks for more."""
    rest = iter(chances)
    backoff = Backoff(lambda: next(rest))
    waits = [backoff.failed(asked_s) for _chance in chances]
    assert all(0.5 <= wait <= 30 for wait in waits)
    assert all(wait >= min(asked_s, 30) for wait in waits)


def test_waits_double_until_something_works():
    backoff = Backoff(lambda: 0.0)
    assert [backoff.failed() for _time in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.worked()
    assert backoff.failed() == 1


@given(st.lists(st.binary(max_size=20), max_size=8), st.data())
def test_lines_are_the_same_however_they_are_cut(pieces, data):
    """Empty ones are no events."""
    whole = b"\n".join(pieces) + b"\n"
    lines, found = Lines(longest=1000), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += lines.take(whole[:size])
        whole = whole[size:]
    assert found == [line for piece in pieces for line in piece.split(b"\n") if line]


def test_a_line_that_is_too_long_takes_no_other_with_it():
    lines = Lines(longest=5)
    assert lines.take(b"ab\n123") == [b"ab"]
    assert lines.take(b"4567890" * 1000) == []
    assert len(lines._rest) == 0
    assert lines.take(b"8\ncd\n") == [None, b"cd"]
    assert lines.take(b"rest") == []
    assert lines.take(b"") == []
    assert lines.is_over


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_raise_only_the_one_error(data):
    for read in (answers.page, answers.event, answers.decode):
        with contextlib.suppress(ValueError):
            read(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "metadata", "items", "type", "object", "uid", "spec"]), inner
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_raises_only_the_one_error(found):
    data = json.dumps(found).encode()
    for read in (answers.page, answers.event, answers.decode):
        with contextlib.suppress(ValueError):
            read(data)


@given(_JSON)
def test_any_object_is_taken_or_refused(found):
    """Nothing but a pod becomes one, and the next one is taken."""
    known = KnownPods(read_pod_strictly, NODE)
    known.replace(known.read([json.dumps(found).encode(), json.dumps(pod("web-1")).encode()]), "5")
    assert [one.name for one in known.by_uid.values()] == ["web-1"]


def read_pod_strictly(found):
    try:
        return read_pod(found)
    except (AttributeError, KeyError, TypeError):
        raise ValueError("no pod") from None


def test_a_name_that_changes_hands_has_the_newest():
    """A mirror pod is made anew under the same path uid before the old one's deletion is told."""
    known = KnownPods(lambda found: read_pod(found), NODE)  # noqa: PLW0108 spelt out for the next line
    known.replace(known.read([json.dumps(pod("db-0", uid="a")).encode()]), "5")
    known.apply(answers.Event("ADDED", json.dumps(pod("db-0", uid="b")).encode()))
    known.apply(answers.Event("DELETED", json.dumps(pod("db-0", uid="a")).encode()))
    assert set(known.by_uid) == {"b"}


def test_a_mirror_made_anew_stays_known():
    """Both API pods have the uid of the path: deleting the older one removes nothing."""

    def read(found):
        one = read_pod(found)
        return type(one)("path-uid", one.api_uid, found["metadata"]["name"], one.namespace)

    known = KnownPods(read, NODE)
    known.replace(known.read([json.dumps(pod("etcd-old", uid="a")).encode()]), "5")
    known.apply(answers.Event("ADDED", json.dumps(pod("etcd-new", uid="b")).encode()))
    assert known.by_uid["path-uid"].name == "etcd-new"
    known.apply(answers.Event("DELETED", json.dumps(pod("etcd-old", uid="a")).encode()))
    assert known.by_uid["path-uid"].name == "etcd-new"


@pytest.mark.parametrize("kind", ["MODIFIED", "ADDED"])
def test_an_event_moves_the_version_on(kind):
    known = KnownPods(read_pod, NODE)
    known.replace(known.read([]), "5")
    found = pod("web-1")
    found["metadata"]["resourceVersion"] = "9"
    known.apply(answers.Event(kind, json.dumps(found).encode()))
    assert known.version == "9"
    known.apply(answers.Event("BOOKMARK", version="12"))
    assert known.version == "12"
    assert set(known.by_uid) == {uid_of("web-1")}


@pytest.mark.parametrize("more", [{"v": "," * (answers.OBJECT_ELEMENTS_MAX + 1)}, {"v": ["x"] * 60_000}])
def test_a_pod_ends_though_its_object_is_refused(more):
    """Its author can make it so large when it is known already: it would stay until the next list."""
    known = KnownPods(read_pod, NODE)
    known.replace(known.read([json.dumps(pod("web-1")).encode()]), "5")
    found = pod("web-1")
    found["metadata"] |= {"resourceVersion": "9", "annotations": more}
    known.apply(answers.Event("MODIFIED", json.dumps(found).encode()))
    assert set(known.by_uid) == {uid_of("web-1")}
    assert (known.version, len(known.refused.take())) == ("9", 1)
    known.apply(answers.Event("DELETED", json.dumps(found).encode()))
    assert not known.by_uid


def test_a_watch_brings_no_more_pods_than_a_list_may():
    known = KnownPods(read_pod, NODE)
    for number in range(answers.LIST_OBJECTS_MAX + 1):
        known.apply(answers.Event("ADDED", json.dumps(pod(f"web-{number}")).encode()))
    assert len(known.by_uid) == answers.LIST_OBJECTS_MAX
    assert known.refused.take() == [f"expected at most {answers.LIST_OBJECTS_MAX} pods of one node, got more"]
