# SPDX-License-Identifier: Apache-2.0
"""Frames on disk, run by glob: those that every reader takes for ever, and those that none may take."""

from pathlib import Path

import msgpack
import msgspec
import pytest

from wattline.wire.codec import decode, encode
from wattline.wire.frames import FRAME_TYPES
from wattline.wire.packed import FrameError
from wattline.wire.table import Table

from . import make_fixtures

FIXTURES = Path(__file__).parent / "fixtures"
VALID = sorted((FIXTURES / "valid").glob("*.frame"))
INVALID = sorted((FIXTURES / "invalid").glob("*.frame"))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_published_frames_stay_readable(path):
    """A frame once published is read by every later version, under the topic of its file name."""
    topic = path.stem.split("_")[0]
    frame = decode(path.read_bytes(), topic)
    assert frame.topic == topic


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_published_frames_survive_a_relay(path):
    """A frame read and written again says the same."""
    frame = decode(path.read_bytes())
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_bad_frames_are_refused_with_their_reason(path):
    """A bad frame raises FrameError with the reason word that its file name begins with."""
    reason, _, case = path.stem.partition("__")
    _, _, sent_as = case.partition("_sent_as_")
    with pytest.raises(FrameError) as caught:
        decode(path.read_bytes(), sent_as or None)
    assert caught.value.reason == reason


def test_fixtures_are_what_their_script_writes():
    """The script makes the same bytes each time, and a published fixture is never rewritten."""
    for name, data in make_fixtures.frames().items():
        assert (FIXTURES / name).read_bytes() == data, name


def test_every_topic_has_a_full_an_empty_and_a_future_frame():
    """Each topic is held by a frame with everything in it, one with nothing, and one with fields added."""
    names = {path.stem for path in VALID}
    for topic in FRAME_TYPES:
        assert {f"{topic}_full", f"{topic}_empty", f"{topic}_fields_added"} <= names


def _is_empty(cells):
    """Whether a packed column, [width, bytes] or a list of names or of columns, has no rows."""
    return cells == [] or (isinstance(cells, list) and cells[-1] == b"")


@pytest.mark.parametrize("topic", FRAME_TYPES)
def test_every_field_has_been_in_a_frame(topic):
    """A field or column that is added gets a fixture that has it: together the full ones have everything."""
    seen = set()
    for path in (FIXTURES / "valid").glob(f"{topic}_full*.frame"):
        for name, value in msgpack.unpackb(path.read_bytes()).items():
            seen.add(name)
            if isinstance(value, dict):
                seen |= {f"{name}.{column}" for column, cells in value.items() if not _is_empty(cells)}
    for entry in msgspec.structs.fields(FRAME_TYPES[topic]):
        assert entry.name in seen
        if isinstance(entry.type, type) and issubclass(entry.type, Table):
            assert {f"{entry.name}.{column}" for column in entry.type.__struct_fields__} <= seen


def test_absent_columns_are_empty():
    """A column in which nothing is said is empty, be it sent so or left out; the rows are there."""
    for frame in ("activity_optional_columns_empty", "activity_optional_columns_left_out", "activity_full"):
        activity = decode((FIXTURES / f"valid/{frame}.frame").read_bytes())
        assert len(activity.cpus) == 2
        assert len(activity.processes) == len(activity.processes.cpu_ns) > 0
        assert list(activity.cpus.frequency_khz) == []
        assert list(activity.cgroups.page_cache_hits) == []
        assert list(activity.processes.socket) == []
    assert len(activity.paths) == 0
    assert activity.counters == activity.cgroups.counts == []


def test_fields_added_later_are_ignored():
    """Unknown fields change nothing of what the known ones say."""
    for topic in FRAME_TYPES:
        full = decode((FIXTURES / f"valid/{topic}_full.frame").read_bytes())
        assert decode((FIXTURES / f"valid/{topic}_fields_added.frame").read_bytes()) == full


def test_fields_left_out_have_their_defaults():
    """Optional fields of a frame are empty when they are not sent."""
    for topic in FRAME_TYPES:
        frame = decode((FIXTURES / f"valid/{topic}_empty.frame").read_bytes())
        for name in ("sources", "losses", "frames_lost", "frames_refused", "errors"):
            assert not getattr(frame, name, None)


def test_hostile_names_arrive_escaped():
    """Control characters, direction marks and bytes that aren't UTF-8 come out as docs/wire.md says."""
    hostile = decode((FIXTURES / "valid/activity_names_hostile.frame").read_bytes())
    assert hostile.processes.comm == ["a\\x0ab", "\\x1b[2J", "\\u202eexe.txt"]
    assert hostile.node == "x\\x00\\x85\\u2028y"
    not_utf_8 = decode((FIXTURES / "valid/activity_names_not_utf_8.frame").read_bytes())
    assert not_utf_8.processes.comm == ["kthreadd", "s\\xff\\xfed", "stress-ng"]
    losses = decode((FIXTURES / "valid/activity_losses_names_hostile.frame").read_bytes()).losses
    assert losses == {"process_table_full": 2, 'a\\x0a"b': 1}


def test_a_newer_schema_is_refused_with_both_numbers():
    """Who reads the log of a refused newer schema sees expected and got."""
    with pytest.raises(FrameError, match=r"expected schema 1 or older, got 2.*power"):
        decode((FIXTURES / "invalid/newer_schema__2.frame").read_bytes())
