# SPDX-License-Identifier: Apache-2.0
"""Frame to bytes and back, for every frame and for any bytes."""

import tracemalloc

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wattline.wire import codec
from wattline.wire.codec import FRAME_BYTES_MAX, decode, encode
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import FRAME_TYPES, MetadataProcesses
from wattline.wire.packed import FrameError

from . import make_fixtures
from .frame_strategies import FRAMES, any_frame

_PUBLISHED = [data for path, data in make_fixtures.frames().items() if path.startswith("valid/")]


def refused_or_decoded(data: bytes, topic: str | None = None) -> None:
    """Fails with whatever else decode lets out."""
    try:
        frame = decode(data, topic)
    except FrameError as error:
        assert error.reason  # noqa: PT017 any reason will do
    else:
        assert frame.topic in FRAME_TYPES


@pytest.mark.parametrize("topic", FRAME_TYPES)
@settings(max_examples=50)  # drawing a whole frame is slow
@given(data=st.data())
def test_a_frame_comes_back_as_it_was_sent(topic, data):
    """decode(encode(frame)) == frame, for every frame type."""
    frame = data.draw(FRAMES[topic])
    returned = decode(encode(frame), topic)
    assert returned == frame
    assert type(returned) is type(frame)


@settings(max_examples=50)
@given(any_frame)
def test_encoding_is_a_function_of_the_frame(frame):
    """Equal frames are equal bytes, whichever way they travelled."""
    assert encode(decode(encode(frame))) == encode(frame)


@settings(max_examples=50)
@given(any_frame)
def test_what_arrives_is_printable(frame):
    """No text in a received frame, be it a key or a value, can break a terminal or a line-based format."""

    def check(value):
        if isinstance(value, str):
            assert value.isprintable()
            value.encode()
        elif isinstance(value, dict):
            for key, item in value.items():
                check(key)
                check(item)
        elif isinstance(value, list | tuple):
            for item in value:
                check(item)

    check(msgspec.to_builtins(decode(encode(frame)), enc_hook=list))


@given(st.binary(max_size=400), st.sampled_from([None, *FRAME_TYPES]))
@example(b"", None)
def test_random_bytes_raise_only_frame_error(data, topic):
    """Whatever the bytes, decode gives a frame or raises FrameError."""
    refused_or_decoded(data, topic)


@given(st.sampled_from(_PUBLISHED), st.data())
def test_mutated_frames_raise_only_frame_error(published, data):
    """Flipped, cut, doubled or inserted bytes in a good frame give a frame or raise FrameError."""
    mutated = bytearray(published)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(mutated)))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "double"])):
            case "flip":
                mutated[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del mutated[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                mutated[at:at] = data.draw(st.binary(min_size=1, max_size=9))
            case _:
                mutated[at:at] = mutated[at : at + 40]
    refused_or_decoded(bytes(mutated))


_json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(_PUBLISHED), st.data())
def test_fields_of_any_type_raise_only_frame_error(published, data):
    """A known field, at any depth, that holds anything msgpack can say gives a frame or FrameError."""
    frame = msgpack.unpackb(published, unicode_errors="surrogateescape")
    place = frame
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(_json_like)
    refused_or_decoded(msgpack.packb(frame, unicode_errors="surrogateescape"))


def test_oversize_frames_are_refused_by_both_sides(monkeypatch):
    """No frame that a reader would refuse for its size leaves a publisher, and none is unpacked."""
    with pytest.raises(FrameError) as caught:
        decode(bytes(FRAME_BYTES_MAX + 1))
    assert caught.value.reason == "too_large"
    frame = decode(make_fixtures.frames()["valid/power_full.frame"])
    monkeypatch.setattr(codec, "FRAME_BYTES_MAX", len(encode(frame)) - 1)
    with pytest.raises(FrameError) as caught:
        encode(frame)
    assert caught.value.reason == "too_large"


def peak_bytes_of(action):
    """The most memory that Python had at once beyond what it had before."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refusal(data):
    """(the reason word with which bytes are refused, the memory that it took)."""
    reasons = []

    def decode_it():
        with pytest.raises(FrameError) as caught:
            decode(data)
        reasons.append(caught.value.reason)

    peak_bytes = peak_bytes_of(decode_it)
    return reasons[0], peak_bytes


def test_claimed_lengths_do_not_allocate():
    """A frame of a few kilobytes can't make a reader reserve megabytes before it is refused."""
    hostile = make_fixtures.frames()["invalid/not_msgpack__arrays_claim_a_million_rows_each.frame"]
    assert refusal(hostile)[1] < 1_000_000


_EMPTIES = {"maps": {}, "arrays": [], "texts": "", "nil": None, "numbers": 1}


@pytest.mark.parametrize("kind", _EMPTIES)
@pytest.mark.parametrize("key", ["unknown", "zones.unknown", "sources", "zones.zone", "zones.raw", "node"])
def test_memory_stays_within_four_times_the_frame(kind, key):
    """Millions of elements of a byte each, below any key, are refused before objects are made of them."""
    frame = msgpack.unpackb(make_fixtures.frames()["valid/power_full.frame"])
    table, _, column = key.partition(".")
    (frame[table] if column else frame)[column or table] = [[_EMPTIES[kind]] * 500_000] * 8
    data = msgpack.packb(frame)
    reason, peak_bytes = refusal(data)
    assert reason in ("too_many", "invalid")
    assert peak_bytes < 4 * len(data)


def test_short_texts_are_bounded_as_a_whole():
    """Two million names of two characters are too many for their bytes, though each column is not."""
    frame = msgpack.unpackb(make_fixtures.frames()["valid/metadata_full_4.frame"])
    for table in (frame["cgroups"], frame["processes"]):
        for name, column in table.items():
            if not column or (isinstance(column[0], str) and column[0] not in ("u8", "u32", "u64")):
                table[name] = [f"{row % 36**2:02x}" for row in range(250_000)]
    data = msgpack.packb(frame)
    reason, peak_bytes = refusal(data)
    assert reason == "too_many"
    # The floor: what any frame may have, however small.
    assert peak_bytes < 4 * len(data) + 250_000 * 72


@pytest.mark.parametrize("first", [b"comm-of-a-process", b"comm-of-a-proces\xff"], ids=["utf-8", "not utf-8"])
def test_names_cost_about_four_times_their_bytes(first):
    """Also in a column with a name that isn't UTF-8, which is taken apart name by name."""
    count = 200_000
    frame = decode(make_fixtures.frames()["valid/metadata_full.frame"])
    processes = MetadataProcesses(
        pid=U32(range(count)),
        start_ticks=U64(range(count)),
        kernel=U8(bytes(count)),
        comm=["COMM-OF-A-PROCESS"] * count,
    )
    data = encode(msgspec.structs.replace(frame, processes=processes)).replace(b"COMM-OF-A-PROCESS", first, 1)
    names = []
    peak_bytes = peak_bytes_of(lambda: names.extend(decode(data).processes.comm))
    assert len(names) == count
    assert names[0] == first.decode("utf-8", "backslashreplace")
    assert names[1] == "COMM-OF-A-PROCESS"
    assert peak_bytes < 4 * len(data)


def test_a_hundred_thousand_processes_are_not_too_many():
    """The limits are far from what a large machine publishes, also where most texts are empty."""
    frame = decode(make_fixtures.frames()["valid/metadata_full.frame"])
    count = 100_000
    processes = MetadataProcesses(
        pid=U32(range(count)),
        start_ticks=U64(range(count)),
        kernel=U8(bytes(count)),
        comm=["sh"] * count,
        container_id=[""] * count,
        runtime=[""] * count,
        pod_uid=[""] * count,
        vm_id=[""] * count,
    )
    assert len(decode(encode(msgspec.structs.replace(frame, processes=processes))).processes) == count


def test_a_frame_has_at_most_256_zones():
    """Each zone is two columns of every workload, so their number is bounded."""
    frame = msgpack.unpackb(make_fixtures.frames()["valid/power_full.frame"])
    for count, is_accepted in ((256, True), (257, False)):
        for name, column in frame["zones"].items():
            if column[0] in ("u32", "u64"):
                frame["zones"][name] = [column[0], bytes(int(column[0][1:]) // 8 * count)]
            else:
                frame["zones"][name] = ["x"] * count
        if is_accepted:
            assert len(decode(msgpack.packb(frame)).zones) == count
        else:
            with pytest.raises(FrameError, match="at most 256 rows, got 257"):
                decode(msgpack.packb(frame))


def test_names_are_cut_before_a_reader_would_refuse_them():
    """The longest name a frame can hold is one its readers take."""
    frame = decode(make_fixtures.frames()["valid/power_full.frame"])
    long_named = type(frame)(
        **{name: getattr(frame, name) for name in frame.__struct_fields__ if name != "node"},
        node="\U00020000" * 100_000,
    )
    assert decode(encode(long_named)) == long_named
