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
from wattline.wire.frames import FRAME_TYPES
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


def test_claimed_lengths_do_not_allocate():
    """A frame of a few kilobytes can't make a reader reserve megabytes before it is refused."""
    hostile = make_fixtures.frames()["invalid/not_msgpack__arrays_claim_a_million_rows_each.frame"]
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            decode(hostile)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_names_are_cut_before_a_reader_would_refuse_them():
    """The longest name a frame can hold is one its readers take."""
    frame = decode(make_fixtures.frames()["valid/power_full.frame"])
    long_named = type(frame)(
        **{name: getattr(frame, name) for name in frame.__struct_fields__ if name != "node"},
        node="\U00020000" * 100_000,
    )
    assert decode(encode(long_named)) == long_named
