# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe over real sockets."""

import itertools
import os
import time

import msgspec
import pytest
import zmq

from wattline.errors import Fatal
from wattline.pipeline import PRODUCER_OF_TOPIC, SERVICES
from wattline.wire import bus
from wattline.wire.bus import Publisher, Subscriber, endpoint, read_last
from wattline.wire.codec import decode, encode
from wattline.wire.rundir import ServiceDirectory

from . import make_fixtures

_PATIENCE_S = 20.0
_FRAMES = {
    topic: decode(make_fixtures.frames()[f"valid/{topic}_full.frame"])
    for topic in ("activity", "power", "metadata", "energy", "status")
}


def power(seq, **fields):
    later = {"mono_ns": _FRAMES["power"].epoch + seq}
    return msgspec.structs.replace(_FRAMES["power"], seq=seq, **(later | fields))


@pytest.fixture
def raw(directory):
    """A publisher that may say anything, and knows when somebody has subscribed."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, round(_PATIENCE_S * 1000))
        socket.bind(f"ipc://{directory.socket}")
        yield socket


def take(subscriber, count):
    """The next frames, so many of them."""
    taken = []
    deadline_s = time.monotonic() + _PATIENCE_S
    while len(taken) < count:
        assert time.monotonic() < deadline_s, f"only {len(taken)} of {count} frames arrived"
        subscriber.poll(100)
        taken += subscriber.receive()
    return taken


def take_while_sending(subscriber, send):
    """The first frames to arrive while `send` is called again and again: a subscription takes time."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        send()
        subscriber.poll(20)
        if taken := list(subscriber.receive()):
            return taken
    pytest.fail("nothing arrived")


def sender(publisher, first=0, **fields):
    """A call that publishes the next frame."""
    numbers = itertools.count(first)
    return lambda: publisher.publish(power(next(numbers), **fields), is_state=True)


def connect_until(subscriber, happened):
    """Call connect() as the run loop does once a tick, until what is waited for has happened."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s
        subscriber.poll(10)
        subscriber.connect()


def test_frames_arrive_as_they_were_sent(directory, raw):
    """Each frame published after the subscription arrives, once and in order."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        for seq in range(10):
            raw.send_multipart([b"power", encode(power(seq))])
            assert take(subscriber, 1) == [power(seq)]
        assert (subscriber.lost, subscriber.refused) == ({}, {})


def test_a_published_frame_reaches_the_socket_and_the_file(directory):
    """publish() sends to whoever listens, and with is_state keeps for whoever comes later."""
    publisher = Publisher(directory)
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        take_while_sending(subscriber, sender(publisher))
        sent = publisher.frames_sent
        assert read_last(directory) == power(sent - 1)
        publisher.publish(power(sent), is_state=False)
        assert read_last(directory) == power(sent - 1)
    publisher.close()
    assert not directory.socket.exists()
    assert read_last(directory) == power(sent - 1)


def test_a_late_joiner_starts_from_the_last_frame(directory):
    """Whoever comes after the publisher has gone has its state at once, without waiting."""
    publisher = Publisher(directory)
    publisher.publish(power(7), is_state=True)
    publisher.close()
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        subscriber.poll(60_000)
        assert list(subscriber.receive()) == [power(7)]
        assert list(subscriber.receive()) == []


def test_a_late_joiner_gets_only_what_it_asked_for(directory):
    """The last frame of a service is of no use to a subscriber of another topic."""
    publisher = Publisher(directory)
    publisher.publish(power(7), is_state=True)
    publisher.close()
    with Subscriber(directory.path.parent, ["status"]) as subscriber:
        assert list(subscriber.receive()) == []


def test_the_last_frame_is_not_used_twice(directory, raw):
    """A frame read from the file and then from the socket is used once, and is no loss."""
    bus.shared.SlotWriter(directory.last).write(encode(power(7)))
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        for seq in (7, 8):
            raw.send_multipart([b"power", encode(power(seq))])
        assert take(subscriber, 2) == [power(7), power(8)]
        assert subscriber.lost == {}


@pytest.mark.parametrize("content", [b"", b"\xc1", encode(power(1))[:-1], b"\x80"])
def test_a_bad_last_frame_is_passed_over(directory, content):
    """A `last` whose payload is no frame starts nobody, and stops nobody."""
    writer = bus.shared.SlotWriter(directory.last)
    writer.write(content)
    writer.close()
    assert read_last(directory) is None
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert list(subscriber.receive()) == []


def test_a_subscriber_may_come_first(run_directory):
    """A service that isn't there yet is connected to once it has appeared."""
    with Subscriber(run_directory, ["power"]) as subscriber:
        directory = ServiceDirectory(run_directory, "power")
        directory.prepare()
        subscriber.connect()
        publisher = Publisher(directory)
        assert take_while_sending(subscriber, sender(publisher))
        publisher.close()


def test_a_publisher_may_die_and_return(directory):
    """The next publisher on the path is heard by the same subscriber, however often."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        for run in (1, 2, 3):
            publisher = Publisher(directory)
            taken = take_while_sending(subscriber, sender(publisher, run * 1000, run=run))
            assert {frame.run for frame in taken} == {run}
            publisher.close()
            for _ in range(10):
                subscriber.poll(10)
                subscriber.connect()
        assert subscriber.refused == {}


def test_a_distrusted_publisher_is_not_heard(directory, raw):
    """A directory that others can write to is not connected to, is named, and is tried again."""
    directory.path.chmod(0o2770)
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert "writable by its owner only" in subscriber.distrusted["power"]
        assert raw.poll(200) == 0
        directory.path.chmod(0o2750)
        subscriber.connect()
        assert subscriber.distrusted == {}
        assert raw.recv() == b"\x01power"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([b"power"], "parts"),
        ([b"power", encode(power(1)), b""], "parts"),
        ([b"powerful", encode(power(1))], "wrong_topic"),
        ([b"power\xff", encode(power(1))], "wrong_topic"),
        ([b"power", encode(_FRAMES["energy"])], "wrong_topic"),
        ([b"power", b""], "not_msgpack"),
    ],
)
def test_bad_messages_are_counted_and_passed_over(directory, raw, parts, reason):
    """What can't be accepted is counted by its reason, and the next good frame is used."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        raw.send_multipart(parts)
        raw.send_multipart([b"power", encode(power(2))])
        assert take(subscriber, 1) == [power(2)]
        assert subscriber.refused == {reason: 1}


def test_a_message_beyond_the_size_limit_costs_no_more_than_itself(directory, raw, monkeypatch):
    """ZeroMQ hangs up on who sends too much and would never call again; the subscriber does."""
    frame = encode(power(12))
    monkeypatch.setattr(bus, "FRAME_BYTES_MAX", len(frame))
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        raw.send_multipart([b"power", encode(power(10))])
        assert take(subscriber, 1) == [power(10)]
        raw.send_multipart([b"power", bytes(len(frame) + 1)])
        assert raw.recv() == b"\x00power"
        connect_until(subscriber, lambda: raw.poll(10))
        assert raw.recv() == b"\x01power"
        raw.send_multipart([b"power", frame])
        assert take(subscriber, 1) == [power(12)]
        assert (subscriber.lost, subscriber.refused) == ({"power": 1}, {})


def test_status_is_heard_from_every_service(run_directory):
    """Who subscribes to `status` is connected to all five."""
    publishers = []
    for service in SERVICES:
        directory = ServiceDirectory(run_directory, service)
        directory.prepare()
        publishers.append(Publisher(directory))
    heard = set()
    deadline_s = time.monotonic() + _PATIENCE_S
    with Subscriber(run_directory, ["status"]) as subscriber:
        mono_ns = _FRAMES["status"].epoch
        while heard != set(SERVICES):
            assert time.monotonic() < deadline_s, f"heard only {heard}"
            mono_ns += 1
            for service, publisher in zip(SERVICES, publishers, strict=True):
                publisher.publish(
                    msgspec.structs.replace(
                        _FRAMES["status"], producer=service, service=service, mono_ns=mono_ns
                    ),
                    is_state=False,
                )
            subscriber.poll(20)
            heard |= {frame.producer for frame in subscriber.receive()}
    for publisher in publishers:
        publisher.close()


def test_one_call_takes_a_bounded_number_of_frames(directory, raw):
    """A publisher faster than its reader can't keep the reader from its own work."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        raw.setsockopt(zmq.SNDHWM, 0)
        for seq in range(200):
            raw.send_multipart([b"power", encode(power(seq))])
        received = 0
        while received < 200:
            subscriber.poll(1000)
            batch = list(subscriber.receive())
            assert 0 < len(batch) <= bus.HIGH_WATER_MARK * len(SERVICES)
            received += len(batch)


def wait_for_messages(subscriber, count):
    """Let so many messages arrive, without looking at them."""
    deadline_s = time.monotonic() + _PATIENCE_S
    (connection,) = subscriber._connections
    while len(connection.messages) < count:
        assert time.monotonic() < deadline_s
        connection.take_messages()


def test_who_is_behind_may_ask_for_the_newest_only(directory, raw):
    """Of frames that wait, only the newest of a topic is given; those passed over are counted as lost."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        raw.send_multipart([b"power", encode(power(0))])
        assert take(subscriber, 1) == [power(0)]
        for seq in range(1, 6):
            raw.send_multipart([b"power", encode(power(seq))])
        wait_for_messages(subscriber, 5)
        assert list(subscriber.receive(newest_only=True)) == [power(5)]
        assert subscriber.lost == {"power": 4}


def test_who_is_interrupted_goes_on_with_the_rest(directory, raw):
    """A reader that stops in the middle of what has arrived gets the rest at its next call, at once."""
    with Subscriber(directory.path.parent, ["power"]) as subscriber:
        assert raw.recv() == b"\x01power"
        for seq in range(5):
            raw.send_multipart([b"power", encode(power(seq))])
        wait_for_messages(subscriber, 5)
        assert next(subscriber.receive()) == power(0)
        subscriber.poll(round(_PATIENCE_S * 1000))
        assert list(subscriber.receive()) == [power(seq) for seq in range(1, 5)]


@pytest.mark.timeout(30)
def test_the_wakeup_descriptor_ends_a_poll(run_directory):
    """A signal's byte in the pipe wakes a service that waits for frames."""
    reader, writer = os.pipe()
    with Subscriber(run_directory, ["power"], reader) as subscriber:
        os.write(writer, b"!")
        subscriber.poll(1_000_000)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:5555", "tcp://*:5555"])
def test_tcp_is_refused(text):
    """Frames travel unencrypted to nobody; the message says what to write instead."""
    with pytest.raises(Fatal, match=r"tcp:// is refused.*unencrypted.*expected ipc://") as caught:
        endpoint(text)
    assert caught.value.exit_code == Fatal.SETTINGS


@pytest.mark.parametrize("text", ["udp://x", "inproc://x", "pgm://x", "TCP://x", "ws://x"])
def test_other_transports_are_refused(text):
    """Only Unix sockets have an owner to check."""
    with pytest.raises(Fatal, match="expected ipc:// or a path"):
        endpoint(text)


@pytest.mark.parametrize("text", ["/run/wattline/power/stream.sock", "ipc:///run/wattline/power/stream.sock"])
def test_paths_are_unix_sockets(text):
    """A path and its ipc:// spelling are the same endpoint."""
    assert endpoint(text) == "ipc:///run/wattline/power/stream.sock"


_TOPICS_OF = {
    service: {"status", *(topic for topic, owner in PRODUCER_OF_TOPIC.items() if owner == service)}
    for service in SERVICES
}


@pytest.mark.parametrize("topic", _FRAMES)
@pytest.mark.parametrize("named", SERVICES)
@pytest.mark.parametrize("speaker", SERVICES)
def test_no_stage_speaks_for_another(run_directory, speaker, named, topic):
    """A frame counts only in its service's own directory and under its name; any other is forged."""
    directory = ServiceDirectory(run_directory, speaker)
    directory.prepare()
    frame = msgspec.structs.replace(_FRAMES[topic], producer=named)
    if topic == "status":
        frame = msgspec.structs.replace(frame, service=named)
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"ipc://{directory.socket}")
        with Subscriber(run_directory, [topic, "status"]) as subscriber:
            wanted = {socket.recv() for _topic in {topic, "status"}}
            assert wanted == {b"\x01" + topic.encode(), b"\x01status"}
            socket.send_multipart([topic.encode(), encode(frame)])
            heard = []
            deadline_s = time.monotonic() + _PATIENCE_S
            while not heard and not subscriber.refused:
                assert time.monotonic() < deadline_s
                subscriber.poll(100)
                heard += subscriber.receive()
    if named == speaker and topic in _TOPICS_OF[speaker]:
        assert (heard, subscriber.refused) == ([frame], {})
    else:
        assert (heard, subscriber.refused) == ([], {"forged": 1})
        assert speaker in subscriber.refusals["forged"]


@pytest.mark.parametrize("topic", ["activity", "power"])
def test_a_forged_last_frame_is_not_believed(run_directory, topic):
    """What lies in `last` is checked like a message: a frame of another's topic there is ignored."""
    directory = ServiceDirectory(run_directory, "metadata")
    directory.prepare()
    publisher = Publisher(directory)
    publisher.publish(_FRAMES[topic], is_state=True)
    assert read_last(directory) is None
    with Subscriber(run_directory, ["activity", "power", "metadata"]) as subscriber:
        assert list(subscriber.receive()) == []
    publisher.close()


class _FailsOnce:
    """A PUB socket whose next part without SNDMORE raises, as an import that fails in pyzmq did."""

    def __init__(self, socket):
        self._socket = socket

    def send(self, data, flags=0):
        if not flags & zmq.SNDMORE:
            raise ImportError("zmq.utils.garbage")
        self._socket.send(data, flags)

    def close(self):
        self._socket.close()


def test_a_message_that_fails_halfway_does_not_shift_the_stream(directory, run_directory):
    """After a part could not be sent, the next message has its own two parts again, and none is refused."""
    publisher = Publisher(directory)
    with Subscriber(run_directory, ["power"]) as subscriber:
        send = sender(publisher)
        take_while_sending(subscriber, send)
        publisher._socket = _FailsOnce(publisher._socket)
        with pytest.raises(ImportError):
            send()
        take_while_sending(subscriber, send)
        assert subscriber.refused == {}
    publisher.close()
