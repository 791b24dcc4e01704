# SPDX-License-Identifier: Apache-2.0
"""Several power streams over real sockets: which are read, which frames count, and what is counted apart."""

import errno
import itertools
import os
import subprocess
import sys
import time

import msgspec
import pytest
import zmq

from wattline.pipeline import SERVICES
from wattline.power_streams import ONLY_POWER, parse_power_streams
from wattline.wire.bus import Publisher, Subscriber, read_last
from wattline.wire.codec import decode, encode
from wattline.wire.columns import U32, U64
from wattline.wire.frames import AbsentZones, GpuUse
from wattline.wire.packed import FrameError
from wattline.wire.plausible import Guard, check_allowed
from wattline.wire.recorded import RecordedFrames
from wattline.wire.recording import RecordingWriter
from wattline.wire.rundir import ServiceDirectory

from . import foreign_publisher, make_fixtures

_PATIENCE_S = 20.0
_GROUP = 60600
_POWER = decode(make_fixtures.frames()["valid/power_full_4.frame"])
_STATUS = decode(make_fixtures.frames()["valid/status_full.frame"])
BMC = parse_power_streams("power-bmc=platform")


def power(producer="power", zone="package", seq=0, **fields):
    """A frame with one zone, 10 ns after the one with the number before."""
    zones = _POWER.zones
    row = {
        name: [zone] if name == "zone" else type(column)(column[:1])
        for name in zones.__struct_fields__
        if (column := getattr(zones, name))
    }
    row["mono_ns"] = U64([_POWER.epoch + 1])
    row["epoch"] = U64([_POWER.epoch])
    frame = {"zones": type(zones)(**row), "absent": msgspec.UNSET, "gpu_use": msgspec.UNSET, "sources": []}
    frame = {name: value for name, value in frame.items() if value is not msgspec.UNSET}
    none = decode(make_fixtures.frames()["valid/power_empty.frame"])
    header = {"producer": producer, "seq": seq, "mono_ns": _POWER.epoch + 100 + 10 * seq}
    kept = {"epoch": _POWER.epoch, "run": _POWER.run, "boot_id": _POWER.boot_id}
    return msgspec.structs.replace(none, **(frame | kept | header | fields))


@pytest.fixture
def publish(run_directory):
    """Publish a frame in a stage's directory, which is made when it is first used."""
    publishers = {}

    def call(stage, frame, *, is_state=True):
        if stage not in publishers:
            directory = ServiceDirectory(run_directory, stage)
            directory.prepare()
            publishers[stage] = Publisher(directory)
        publishers[stage].publish(frame, is_state=is_state)

    yield call
    for publisher in publishers.values():
        publisher.close()


def subscriber(run, streams, topics=("power",)):
    return Subscriber(run, topics, guard=Guard(streams=streams))


def heard(reader, send, until):
    """Frames that arrive while `send` is called again and again, up to a condition."""
    taken = []
    deadline_s = time.monotonic() + _PATIENCE_S
    while not until(taken):
        assert time.monotonic() < deadline_s, (taken, reader.refused)
        send()
        reader.connect()
        reader.poll(20)
        taken += reader.receive()
    return taken


def both_connected(reader, publish, stages):
    """Publish on all streams until each is heard over its socket; the next number of each."""
    zones = {"power": "package", "power-bmc": "platform"}
    sent = 0

    def send():
        nonlocal sent
        sent += 1
        for stage in stages:
            publish(stage, power(stage, zones[stage], sent))

    taken = heard(
        reader, send, lambda taken: {frame.producer for frame in taken if frame.seq > 1} == set(stages)
    )
    # None of these may arrive later, when a test looks at what it has sent itself.
    deadline_s = time.monotonic() + _PATIENCE_S
    while {frame.producer for frame in taken if frame.seq == sent} != set(stages):
        assert time.monotonic() < deadline_s, (sent, taken)
        reader.poll(20)
        taken += reader.receive()
    return sent + 1


def test_a_foreign_second_stream_is_heard_beside_ours(run_directory, publish):
    """A stage that knows only docs/wire.md publishes `power-bmc`; both streams arrive whole and in order."""
    process = subprocess.Popen(
        [sys.executable, foreign_publisher.__file__, str(run_directory), "n", "power-bmc", "platform"]
    )
    try:
        numbers = itertools.count()
        with subscriber(run_directory, BMC) as reader:
            frames = heard(
                reader,
                lambda: publish("power", power(seq=next(numbers))),
                lambda taken: all(
                    sum(frame.producer == name for frame in taken) > 9 for name in ("power", "power-bmc")
                ),
            )
            assert (reader.refused, reader.distrusted) == ({}, {})
    finally:
        process.kill()
        process.wait()
    for name in ("power", "power-bmc"):
        own = [frame for frame in frames if frame.producer == name][1:]
        assert [frame.seq for frame in own] == sorted({frame.seq for frame in own})
    assert {frame.zones.zone[0] for frame in frames if frame.producer == "power-bmc"} == {"platform"}


def test_a_stream_that_is_not_listed_is_never_connected_to(run_directory, publish):
    """Its last frame isn't read, and its socket never sees a subscription."""
    publish("power", power())
    directory = ServiceDirectory(run_directory, "power-bmc")
    directory.prepare()
    publish("power-bmc", power("power-bmc", "platform"))
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        directory.socket.unlink()
        socket.bind(f"ipc://{directory.socket}")
        for streams in (ONLY_POWER, parse_power_streams("power-gpu=gpu")):
            with subscriber(run_directory, streams, ("power", "status")) as reader:
                for _turn in range(5):
                    reader.connect()
                    reader.poll(20)
                assert [frame.producer for frame in reader.receive()] == ["power"]
                assert socket.poll(200) == 0
        with subscriber(run_directory, BMC) as reader:
            assert socket.poll(_PATIENCE_S * 1000)
            assert sorted(frame.producer for frame in reader.receive()) == ["power", "power-bmc"]


@pytest.mark.parametrize(
    ("stage", "frame"),
    [
        ("power-bmc", power("power", "platform")),
        ("power", power("power-bmc", "platform")),
        ("power-bmc", power("power-gpu", "platform")),
        ("probe", power("power-bmc", "platform")),
        ("power-bmc", msgspec.structs.replace(_STATUS, producer="power", service="power")),
        ("power-bmc", msgspec.structs.replace(_STATUS, producer="power-bmc", service="power")),
        ("power-bmc", decode(make_fixtures.frames()["valid/energy_full.frame"])),
        (
            "power-bmc",
            msgspec.structs.replace(
                decode(make_fixtures.frames()["valid/metadata_full.frame"]), producer="power-bmc"
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.topic}-{value.producer}",
)
def test_no_stream_speaks_for_another(run_directory, publish, stage, frame):
    """A frame counts only on the stream that it names; a power stream has `power` and its status alone."""
    with subscriber(run_directory, BMC, ("power", "status", "energy", "metadata")) as reader:
        taken = heard(
            reader, lambda: publish(stage, frame, is_state=False), lambda _taken: bool(reader.refused)
        )
    assert taken == []
    assert set(reader.refused) == {"forged"}


def test_status_is_heard_from_every_listed_stream(run_directory, publish):
    """The status of a power stream names it as its service."""
    stages = (*SERVICES, "power-bmc")
    times = itertools.count(_STATUS.mono_ns)

    def send():
        now = next(times)
        for stage in stages:
            own = msgspec.structs.replace(_STATUS, producer=stage, service=stage, mono_ns=now)
            publish(stage, own, is_state=False)

    with subscriber(run_directory, BMC, ("status",)) as reader:
        heard(reader, send, lambda taken: {frame.producer for frame in taken} == set(stages))
        assert reader.refused == {}


_ABSENT = AbsentZones(source=["s"], zone=["dram"], index=["0"], why=["unreadable"], reason=["r"])
_USE = GpuUse(index=["0"], pid=U32([1]), start_ticks=U64([1]), busy_ns=U64([1]))


@pytest.mark.parametrize(
    ("frame", "zone"),
    [
        (power("power-bmc", "package"), "package"),
        (power("power-bmc", "no such zone"), "no such zone"),
        (power("power-bmc", "platform", absent=_ABSENT), "dram"),
        (power("power-bmc", "platform", gpu_use=_USE), "gpu"),
    ],
    ids=["zone", "unknown zone", "absent", "gpu_use"],
)
def test_a_frame_with_a_zone_that_is_not_allowed_is_refused_whole(run_directory, publish, frame, zone):
    """In a message as in `last`; it is counted by a reason of its own, and the log has stream and zone."""
    publish("power-bmc", frame)
    with subscriber(run_directory, BMC) as reader:
        assert list(reader.receive()) == []
        assert reader.refused == {"not_allowed": 1}
        assert "expected power-bmc to publish only platform" in reader.refusals["not_allowed"]
        assert repr(zone) in reader.refusals["not_allowed"]
        heard(
            reader,
            lambda: publish("power-bmc", frame, is_state=False),
            lambda taken: taken or reader.refused["not_allowed"] > 1,
        )
        good = itertools.count(1)
        taken = heard(reader, lambda: publish("power-bmc", power("power-bmc", "platform", next(good))), bool)
    assert all(frame.zones.zone == ["platform"] for frame in taken)
    assert set(reader.refused) == {"not_allowed"}


def test_what_a_stream_may_publish():
    """Its zones, an absent meter without a zone, an empty frame; `power` everything unless it is limited."""
    streams = parse_power_streams("power-bmc=platform+other,power-gpu=gpu")
    nameless = msgspec.structs.replace(_ABSENT, zone=[""])
    for frame in (
        power("power-bmc", "platform"),
        power("power-bmc", "other", absent=nameless),
        power("power-gpu", "gpu", gpu_use=_USE),
        power("power", "anything", absent=_ABSENT, gpu_use=_USE),
        decode(make_fixtures.frames()["valid/power_empty.frame"]),
        _STATUS,
    ):
        check_allowed(frame, streams)
    with pytest.raises(FrameError, match=r"only core\+package, .*got zone 'platform'"):
        check_allowed(power("power", "platform"), parse_power_streams("power=package+core"))
    with pytest.raises(FrameError, match=r"power\.streams \(power, power-bmc\), got 'power-gpu'"):
        check_allowed(power("power-gpu", "gpu"), BMC)


def test_losses_are_counted_by_stream(run_directory, publish):
    """A gap in one stream's numbers is not one in the other's, and numbers of both may be the same."""
    with subscriber(run_directory, BMC) as reader:
        first = both_connected(reader, publish, ("power", "power-bmc"))
        before = dict(reader.lost)
        for seq in (first, first + 3):
            publish("power-bmc", power("power-bmc", "platform", seq))
        for seq in (first, first + 1):
            publish("power", power("power", "package", seq))
        heard(reader, lambda: None, lambda _taken: reader.lost != before)
        assert reader.lost.get("power", 0) == before.get("power", 0)
        assert reader.lost["power-bmc"] == before.get("power-bmc", 0) + 2


def test_an_older_epoch_of_one_stream_leaves_the_other_alone(run_directory, publish):
    """Streams have epochs of their own: the refusal names the stream that contradicts itself."""
    with subscriber(run_directory, BMC) as reader:
        first = both_connected(reader, publish, ("power", "power-bmc"))
        old = power("power-bmc", "platform", first, epoch=_POWER.epoch - 5)
        publish("power-bmc", msgspec.structs.replace(old, zones=power("power-bmc", "platform").zones))
        taken = heard(
            reader, lambda: publish("power", power(seq=first)), lambda _taken: reader.refused and _taken
        )
        assert {frame.producer for frame in taken} == {"power"}
        assert reader.refused == {"older_epoch": 1}
        assert reader.refusals["older_epoch"].startswith("older_epoch: power-bmc:")


def test_the_newest_of_each_stream_is_given(run_directory, publish):
    """A reader that is behind skips frames of a stream only for newer ones of the same stream."""
    with subscriber(run_directory, BMC) as reader:
        first = both_connected(reader, publish, ("power", "power-bmc"))
        for seq in range(first, first + 4):
            publish("power-bmc", power("power-bmc", "platform", seq))
        publish("power", power(seq=first))
        deadline_s = time.monotonic() + _PATIENCE_S
        while sum(len(one.messages) for one in reader._connections) < 5:
            assert time.monotonic() < deadline_s
            for connection in reader._connections:
                connection.take_messages()
        taken = {frame.producer: frame.seq for frame in reader.receive(newest_only=True)}
        assert taken == {"power": first, "power-bmc": first + 3}


@pytest.mark.parametrize(
    ("group", "uid", "rightful"),
    [
        (_GROUP, 60610, {60610}),
        (_GROUP, None, {_GROUP + 1}),
        (0, 60610, {60610}),
        (0, None, {0, 60610, 60999}),
    ],
    ids=["number", "none: power's user", "number, no group", "none, no group"],
)
def test_a_streams_name_in_a_shared_run_directory_is_its_users(run_directory, group, uid, rightful):
    """The owner is the user of the setting, else power's by the numbering of users; docs/security.md."""
    os.chown(run_directory, 0, group)
    run_directory.chmod(0o1770)
    directory = ServiceDirectory(run_directory, "power-bmc", uid)
    directory.path.mkdir()
    for owner in (0, 60610, 60999, _GROUP + 1, _GROUP + 3):
        os.chown(directory.path, owner, -1)
        wanted = owner in rightful or (not group and uid is None)
        assert (directory.distrust() is None) == wanted, (owner, directory.distrust())


def test_a_reader_does_not_trust_a_streams_directory_of_another_user(run_directory, publish):
    """The subscriber checks the number that its setting has, and reports the directory otherwise."""
    publish("power-bmc", power("power-bmc", "platform"))
    os.chown(run_directory, 0, _GROUP)
    run_directory.chmod(0o1770)
    path = run_directory / "power-bmc"
    for owner, trusted in ((60610, 60610), (60999, 60610), (60610, 60999)):
        for one in (path, *path.iterdir()):
            os.chown(one, owner, -1)
        streams = parse_power_streams(f"power-bmc:{trusted}=platform")
        with subscriber(run_directory, streams) as reader:
            frames = list(reader.receive())
            assert bool(frames) == (owner == trusted)
            assert ("power-bmc" in reader.distrusted) == (owner != trusted)
    assert read_last(ServiceDirectory(run_directory, "power-bmc", 60999)) is None


@pytest.mark.parametrize(("name", "has_cure"), [("power", False), ("power-bmc", True)])
def test_a_stream_that_is_closed_to_its_reader_says_how_to_open_it(
    run_directory, monkeypatch, name, has_cure
):
    """An operator starts further streams, and has to name the common group."""
    directory = ServiceDirectory(run_directory, name)
    directory.prepare()

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(type(directory.path), "lstat", refuse)
    reason = directory.distrust()
    assert "is it in the common group?" in reason
    assert ("--user UID:GID" in reason) == has_cure


def test_a_recording_of_two_streams_replays_both(tmp_path):
    """Each in its own order, with its own losses; only listed ones count where a list is given."""
    frames = []
    for seq in range(4):
        frames += [power(seq=seq), power("power-bmc", "platform", 2 * seq)]
    forged = power("metadata", seq=9)
    path = tmp_path / "two"
    with RecordingWriter(path) as writer:
        for frame in (*frames, frames[2], forged):
            writer.write(encode(frame))

    def replayed(streams):
        with RecordedFrames(path, ["power"], streams) as recorded:
            return list(recorded), recorded.lost, recorded.refused

    assert replayed(None) == (frames, {"power-bmc": 3}, {"forged": 1})
    assert replayed(BMC) == (frames, {"power-bmc": 3}, {"forged": 1})
    assert replayed(ONLY_POWER) == (frames[::2], {}, {"forged": 1, "not_allowed": 4})
    only_gpu = parse_power_streams("power-bmc=gpu")
    assert replayed(only_gpu) == (frames[::2], {}, {"forged": 1, "not_allowed": 4})
