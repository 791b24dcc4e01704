# SPDX-License-Identifier: Apache-2.0
"""`wattline record`: every frame that was sent, as it was sent, in a private file."""

import argparse
import signal
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.pipeline.pipeline import Pipeline
from wattline.cli.record import duration_s
from wattline.pipeline import PRODUCER_OF_TOPIC
from wattline.wire.bus import Publisher, Subscriber
from wattline.wire.codec import decode, encode
from wattline.wire.rundir import ServiceDirectory

from .recordings import payloads, seconds, started, wattline

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
TOPICS = ("activity", "power", "metadata")
PATIENCE_S = 20


@pytest.fixture
def publishers(run_directory):
    """A publisher by topic, as if the three services ran."""
    opened = {}
    for topic in TOPICS:
        directory = ServiceDirectory(run_directory, PRODUCER_OF_TOPIC[topic])
        directory.prepare()
        opened[topic] = Publisher(directory)
    yield opened
    for publisher in opened.values():
        publisher.close()


def frames(count):
    """Frames of this boot, numbered as services do it."""
    numbers = dict.fromkeys(TOPICS, 0)
    for frame in seconds(count):
        seq = numbers[frame.topic]
        numbers[frame.topic] += 1
        yield msgspec.structs.replace(
            frame, boot_id=BOOT_ID, producer=PRODUCER_OF_TOPIC[frame.topic], seq=seq
        )


@contextmanager
def recording(path, *flags, run):
    """A `wattline record` that has begun to listen."""
    with started("record", path, "--run", run, *flags) as process:
        try:
            assert process.stderr.readline().startswith("recording activity, power, metadata of ")
            yield process
        finally:
            process.kill()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def repeat_until_heard(publisher, frame, path):
    """Publish a frame until the recording at `path` holds it twice: from `last`, and over the socket.

    A PUB socket doesn't report when a subscription has reached it, and drops what it is given before.
    """
    payload = encode(frame)
    publisher.publish(frame, is_state=True)
    wait_until(lambda: path.exists() and payload in payloads(path))

    def is_heard():
        publisher.publish(frame, is_state=True)
        time.sleep(0.02)
        return payloads(path).count(payload) > 1

    wait_until(is_heard)
    settled_s = time.monotonic() + 0.2
    before = -1
    while time.monotonic() < settled_s or before != len(payloads(path)):  # repeats that are on their way
        before = len(payloads(path))
        time.sleep(0.02)


def test_every_frame_is_kept_as_it_was_sent(run_directory, publishers, tmp_path):
    """Byte for byte, each of each topic in order; it says how many, and that none was lost."""
    path = tmp_path / "a.rec"
    sent = list(frames(40))
    first, rest = sent[:3], sent[3:]
    for frame in first:
        publishers[frame.topic].publish(frame, is_state=True)  # what a late joiner starts from
    with recording(path, run=run_directory) as process:
        for frame in first:
            repeat_until_heard(publishers[frame.topic], frame, path)
        heard = len(payloads(path))
        for begin in range(0, len(rest), 9):
            # Three of each topic wait for it, as where a disk is slow: it takes them all, not the newest.
            process.send_signal(signal.SIGSTOP)
            for frame in rest[begin : begin + 9]:
                publishers[frame.topic].publish(frame, is_state=True)
            process.send_signal(signal.SIGCONT)
            wait_until(lambda count=heard + begin + 9: len(payloads(path)) >= count)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    kept = payloads(path)
    assert f"recorded {len(kept)} frames in " in output
    assert output.rstrip().endswith("; lost: none")
    assert set(kept[:heard]) == {encode(frame) for frame in first}
    assert sorted(kept[heard:]) == sorted(encode(frame) for frame in rest)
    for topic in TOPICS:
        of_topic = [frame.seq for frame in map(decode, kept[heard:]) if frame.topic == topic]
        assert of_topic == list(range(1, 40))
        assert f"{topic} {39 + sum(decode(one).topic == topic for one in kept[:heard])}" in output


def test_frames_that_never_came_are_told(run_directory, publishers, tmp_path):
    """A gap in the numbers of a topic is a loss, and is said at the end."""
    path = tmp_path / "a.rec"
    power = [frame for frame in frames(9) if frame.topic == "power"]
    publishers["power"].publish(power[0], is_state=True)
    with recording(path, run=run_directory) as process:
        repeat_until_heard(publishers["power"], power[0], path)
        heard = len(payloads(path))
        publishers["power"].publish(power[8], is_state=True)
        wait_until(lambda: len(payloads(path)) == heard + 1)
        process.send_signal(signal.SIGINT)
        output, _errors = process.communicate(timeout=PATIENCE_S)
    assert f"activity 0, power {heard + 1}, metadata 0; lost: power 7" in output


def test_frames_of_another_boot_are_left_out(run_directory, publishers, tmp_path):
    """A last frame that outlived its boot has another clock and would spoil a replay."""
    path = tmp_path / "a.rec"
    frame = next(frames(1))
    publishers[frame.topic].publish(msgspec.structs.replace(frame, boot_id="other"), is_state=True)
    result = wattline("record", path, "--for", "1s", "--run", run_directory)
    assert result.returncode == 1
    assert not path.exists()


def test_a_recording_is_private_and_ends_by_itself(run_directory, publishers, tmp_path):
    """Mode 0600 from the start; with --for it ends after that time, with exit code 0."""
    path = tmp_path / "a.rec"
    frame = next(frames(1))
    publishers[frame.topic].publish(frame, is_state=True)
    begun_s = time.monotonic()
    with recording(path, "--for", "1.5s", run=run_directory) as process:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert process.wait(PATIENCE_S) == 0
    assert time.monotonic() - begun_s > 1.5
    assert payloads(path) == [encode(frame)]


def test_an_existing_file_is_refused_unless_forced(run_directory, publishers, tmp_path):
    """What is there stays and is told; --force replaces it."""
    path = tmp_path / "a.rec"
    path.write_text("precious", encoding="ascii")
    frame = next(frames(1))
    publishers[frame.topic].publish(frame, is_state=True)
    flags = ("record", path, "--for", "1s", "--run", run_directory)
    result = wattline(*flags)
    assert result.returncode == 2
    assert f"{path} is there already" in result.stderr
    assert path.read_text(encoding="ascii") == "precious"
    assert wattline(*flags, "--force").returncode == 0
    assert payloads(path) == [encode(frame)]


def test_where_nothing_runs_nothing_is_kept(run_directory, tmp_path):
    """Without a frame: exit code 1, the likely reason, and no file."""
    path = tmp_path / "a.rec"
    # The flag's value before FILE is not taken for FILE.
    result = wattline("record", "--run", run_directory, path, "--for", "0.5s")
    assert result.returncode == 1
    assert "is `wattline up` running" in result.stderr
    assert not path.exists()


@pytest.mark.parametrize("text", ["10", "-1s", "0s", "soon"])
def test_a_wrong_time_is_told(tmp_path, text):
    """Exit code 2 and what was expected."""
    result = wattline("record", tmp_path / "a", f"--for={text}")
    assert result.returncode == 2
    assert "30s, 5m or 1h" in result.stderr
    assert not (tmp_path / "a").exists()


def test_times():
    """Seconds, minutes and hours, in fractions too."""
    assert [duration_s(text) for text in ("30s", "5m", "1h", "0.5m")] == [30, 300, 3600, 30]
    for text in ("", "s", "1", "1 s", "1d", "1e3s", "infs"):
        with pytest.raises(argparse.ArgumentTypeError):
            duration_s(text)


def test_a_live_pipeline_is_recorded_and_replayed(run_directory, pin_path, tmp_path):
    """Beside a running Wattline: what another subscriber sees is what is in the file, and it replays."""
    path = tmp_path / "live.rec"
    seen, enough = {}, threading.Event()

    def watch():
        with Subscriber(run_directory, TOPICS, frames_held_max=64) as subscriber:
            while not enough.is_set():
                subscriber.poll(50)
                for payload, frame in subscriber.receive_raw():
                    seen[frame.topic, frame.run, frame.seq] = payload
                subscriber.connect()

    with Pipeline(run_directory, pin_path, interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            result = wattline("record", path, "--for", "4s", run=str(run_directory))
        finally:
            time.sleep(0.5)
            enough.set()
            watcher.join()
    assert result.returncode == 0, result.stderr
    kept = {
        (frame.topic, frame.run, frame.seq): payload
        for payload in payloads(path)
        for frame in [decode(payload)]
    }
    gaps = {}
    for topic in TOPICS:
        numbers = [seq for of, _run, seq in kept if of == topic]
        assert len(numbers) >= 15
        # Between the last frame, with which it starts, and the first from the socket one may be missed.
        assert numbers[1:] == list(range(numbers[1], numbers[1] + len(numbers) - 1))
        gaps[topic] = numbers[1] - numbers[0] - 1
    said = ", ".join(f"{topic} {gap}" for topic, gap in gaps.items() if gap)
    assert f"; lost: {said or 'none'}\n" in result.stdout
    # The watcher began first and ended last, but for the frame from which each started.
    assert len(kept.keys() - seen.keys()) <= len(TOPICS)
    assert all(seen[key] == payload for key, payload in kept.items() if key in seen)
    replays = [wattline("replay", path, "--metrics", "-") for _time in range(2)]
    assert replays[0].returncode == 0, replays[0].stderr
    assert replays[0].stdout == replays[1].stdout
    assert "kepler_container_package_joules_total" in replays[0].stdout
