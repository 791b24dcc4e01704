# SPDX-License-Identifier: Apache-2.0
"""Ten thousand bad frames at a live subscriber, over a real socket."""

import random
import time

import msgspec
import zmq

from wattline.wire.bus import Subscriber
from wattline.wire.codec import decode, encode
from wattline.wire.order import StreamOrder
from wattline.wire.packed import FrameError
from wattline.wire.plausible import Guard
from wattline.wire.rundir import ServiceDirectory

from . import make_fixtures

_HOSTILE = 10_000
_BATCH = 100
_PATIENCE_S = 60.0


def mutated(chance, published):
    """A good frame with some bytes flipped, cut out, inserted or repeated."""
    data = bytearray(chance.choice(published))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randint(1, 60)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 9))
            case _:
                data[at:at] = data[at : at + 60]
    return bytes(data)


def test_ten_thousand_mutated_frames_are_survived_and_accounted_for(run_directory):
    """Every hostile frame is used, dropped as old or counted as refused; good ones in between arrive all."""
    directory = ServiceDirectory(run_directory, "power")
    directory.prepare()
    fixtures = make_fixtures.frames()
    published = [data for path, data in fixtures.items() if path.startswith(("valid/power", "invalid/"))]
    good = decode(fixtures["valid/power_full.frame"])
    chance = random.Random(10_000)

    expected, refused, order = [], {}, StreamOrder()

    def expect(topic, data):
        """What the subscriber should make of it, worked out apart from the socket."""
        try:
            frame = decode(data, topic)
            Guard().check(frame, "power")
        except FrameError as error:
            refused[error.reason] = refused.get(error.reason, 0) + 1
        else:
            contradicted = sum(order.contradicted.values())
            if order.admit(frame):
                expected.append(frame)
            elif sum(order.contradicted.values()) > contradicted:
                refused["older_epoch"] = refused.get("older_epoch", 0) + 1

    received = []
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)  # nothing is dropped on our side, so all can be accounted for
        socket.bind(f"ipc://{directory.socket}")
        with Subscriber(run_directory, ["power"]) as subscriber:
            assert socket.recv() == b"\x01power"
            for seq in range(_HOSTILE // _BATCH):
                for _ in range(_BATCH):
                    topic = chance.choice(["power", "power", "power", "power", "powerful"])
                    data = mutated(chance, published)
                    socket.send_multipart([topic.encode(), data])
                    expect(topic, data)
                # Of a boot of its own, so that it begins a stream, whatever the mutated frames were.
                sentinel = msgspec.structs.replace(good, seq=seq, boot_id=f"good {seq}")
                socket.send_multipart([b"power", encode(sentinel)])
                expect("power", encode(sentinel))
                deadline_s = time.monotonic() + _PATIENCE_S
                while not received or received[-1] != sentinel:
                    assert time.monotonic() < deadline_s, "the subscriber hears no more"
                    subscriber.poll(100)
                    received += subscriber.receive()
            assert received == expected
            assert subscriber.refused == refused
            assert subscriber.lost == order.lost
    assert [frame.seq for frame in received if frame.boot_id.startswith("good")] == list(
        range(_HOSTILE // _BATCH)
    )
    assert sum(refused.values()) > _HOSTILE / 2
    assert set(refused) >= {
        "invalid",
        "not_msgpack",
        "not_a_map",
        "unknown_topic",
        "wrong_topic",
        "wrong_time",
    }
