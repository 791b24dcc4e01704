# SPDX-License-Identifier: Apache-2.0
"""A gRPC call's bytes, against h2's own server side and against any bytes."""

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cluster.grpc_unary import CallError, UnaryCall

PATH = "/v1.PodResourcesLister/List"
LIMIT = 100_000
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


def started() -> tuple[UnaryCall, H2Connection]:
    """A call, and a server that has got it."""
    call = UnaryCall(PATH, 5000, LIMIT)
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(call.to_send())
    return call, server


def served(body: bytes, trailers=OK, headers=HEADERS) -> bytes:
    """What a server sends for an answer that needs no more of the client's bytes."""
    _, server = started()
    server.send_headers(1, headers)
    server.send_data(1, body)
    server.send_headers(1, trailers, end_stream=True)
    return server.data_to_send()


def framed(message: bytes, compressed: int = 0, size: int | None = None) -> bytes:
    length = len(message) if size is None else size
    return bytes([compressed]) + length.to_bytes(4, "big") + message


def result(data: bytes) -> bytes:
    call, _ = started()
    call.receive(data)
    assert call.is_over
    return call.message()


def test_a_message():
    """It comes as it was sent."""
    assert result(served(framed(b"message"))) == b"message"


def test_a_message_byte_by_byte():
    """However the bytes are cut."""
    call, _ = started()
    data = served(framed(b"message"))
    for at in range(len(data)):
        assert not call.is_over
        call.receive(data[at : at + 1])
    assert call.message() == b"message"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (served(framed(b"message", compressed=1)), "a compressed one"),
        (served(framed(b"message", size=6)), "expected one message"),
        (served(framed(b"message", size=8)), "expected one message"),
        (served(framed(b"one") + framed(b"two")), "expected one message"),
        (served(b"\0\0"), "expected one message"),
        (served(framed(b""), [("grpc-status", "7")]), "^PERMISSION_DENIED$"),
        (
            served(framed(b""), [("grpc-status", "8"), ("grpc-message", "too%20many%1b[0m")]),
            r"^RESOURCE_EXHAUSTED: too many\?\[0m$",
        ),
        (served(framed(b""), [("grpc-status", "17")]), "^UNKNOWN$"),
        (served(framed(b""), [("grpc-status", "-1")]), "^UNKNOWN$"),
        (served(framed(b""), [("grpc-status", "²")]), "^UNKNOWN$"),
        (served(b"<html>", [("x", "y")], [(":status", "404")]), "a gRPC server, got HTTP status 404"),
    ],
)
def test_answers_that_are_none(data, said):
    """Each with what it is."""
    with pytest.raises(CallError, match=said):
        result(data)


def test_a_reset_and_a_goodbye():
    """A server that gives up the call, or the connection."""
    call, server = started()
    server.reset_stream(1, 8)
    call.receive(server.data_to_send())
    with pytest.raises(CallError, match=r"gives the call up \(error 8\)"):
        call.message()
    call, server = started()
    server.close_connection(11)
    with pytest.raises(CallError, match=r"ends the connection \(error 11\)"):
        call.receive(server.data_to_send())


def test_the_end_before_the_answer():
    """No bytes are the end."""
    call, _ = started()
    with pytest.raises(CallError, match="was closed before"):
        call.receive(b"")


def test_bytes_are_counted_whatever_they_are():
    """A server that sends pings for ever is given up: not only messages count."""
    call, server = started()
    with pytest.raises(CallError, match=f"at most {LIMIT} bytes"):  # noqa: PT012 which ping it is doesn't matter
        for _ in range(20_000):
            server.ping(b"12345678")
            call.receive(server.data_to_send())


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_any_bytes(chunks):
    """They raise CallError or nothing."""
    call, _ = started()
    try:
        for chunk in chunks:
            call.receive(chunk)
            call.to_send()
        call.message()
    except CallError:
        return


@given(st.data())
def test_any_damage(data):
    """An answer with bytes changed, left out or put in raises CallError, or is an answer."""
    sent = bytearray(served(framed(b"m" * 40), [("grpc-status", "0"), ("grpc-message", "%41")]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sent)))
        sent[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    call, _ = started()
    try:
        call.receive(bytes(sent))
        call.to_send()
        call.message()
    except CallError:
        return


FRAMES = st.tuples(
    st.integers(0, 10),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 2**31 - 1]),
    st.binary(max_size=60),
)


@given(st.lists(FRAMES, max_size=6))
def test_any_frames(frames):
    """Nor do frames of every type with anything in them, after proper settings."""
    call, server = started()
    call.receive(server.data_to_send())
    try:
        for kind, flags, stream, content in frames:
            head = len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            call.receive(head + content)
            call.to_send()
        call.message()
    except CallError:
        return
