# SPDX-License-Identifier: Apache-2.0
"""The run loop on a recording: every frame, the time of the frames, and an end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from wattline.log import Log
from wattline.runtime import Runtime
from wattline.settings import CommonSettings
from wattline.wire.bus import read_last
from wattline.wire.codec import decode, encode
from wattline.wire.recording import RecordingWriter
from wattline.wire.rundir import ServiceDirectory

from . import tiny_stage

_FIXTURES = Path(__file__).parents[1] / "wire/fixtures/valid"
_ACTIVITY = decode((_FIXTURES / "activity_full.frame").read_bytes())
_PATIENCE_S = 20.0
_S = 1_000_000_000
_BEGUN_NS = 5000 * _S + 1


@pytest.fixture
def recording(tmp_path):
    """40 frames, a second apart, of a boot, node and time that are not ours."""
    path = tmp_path / "a.rec"
    with RecordingWriter(path) as writer:
        for number in range(40):
            mono_ns = _BEGUN_NS + number * _S
            frame = msgspec.structs.replace(
                _ACTIVITY, node="far", boot_id="once", seq=number, mono_ns=mono_ns, unix_ns=mono_ns + 7
            )
            writer.write(encode(frame))
    return path


@pytest.fixture
def start(run_directory, recording):
    """Start a tiny service on the recording; killed at the end if it still runs."""
    started = []

    def service(*flags):
        process = subprocess.Popen(
            [
                sys.executable, tiny_stage.__file__, "--run", str(run_directory), "--node", "n",
                "--replay", str(recording), *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(tiny_stage.__file__).parent,
            env={name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")},
            text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield service
    for process in started:
        process.kill()
        process.communicate()


def last(run):
    return read_last(ServiceDirectory(run, "power"))


def test_every_frame_arrives_and_it_ends(start):
    """However fast, all frames in their order; then the stage is closed and the exit code is 0."""
    process = start()
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert [int(seq) for seq in re.findall(r" frame topic=activity seq=(\d+)", log)] == list(range(40))
    assert [line.split()[3] for line in log.splitlines()[-2:]] == ["closed", "stopped"]
    assert "WARNING" not in log


def test_time_and_origin_are_those_of_the_frames(start, run_directory):
    """Ticks fall on the grid of the interval in the frames' time; node, boot, run and clocks are theirs."""
    start("--interval-s", "10").communicate(timeout=_PATIENCE_S)
    frame = last(run_directory)
    # Ticks are due at 5010, 5020 and 5030 s, and are seen with the next frame, one nanosecond later.
    assert (frame.seq, frame.mono_ns) == (2, 5030 * _S + 1)
    assert (frame.node, frame.boot_id, frame.run) == ("far", "once", _BEGUN_NS)
    assert frame.unix_ns == frame.mono_ns + 7


def test_no_status_is_sent(start, run_directory):
    """What a replay costs is no part of what it gives: of its own topic alone, and the same each time."""
    log, _ = start("--interval-s", "10").communicate(timeout=_PATIENCE_S)
    assert " stopped frames_sent=3" in log
    assert last(run_directory).topic == "power"


def test_an_exception_costs_no_frame(start):
    """What goes wrong in a tick is counted, and all frames arrive all the same."""
    process = start("--tiny.fault", "exception", "--interval-s", "1")
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert log.count(" frame topic=activity ") == 40
    assert "KeyError" in log


def test_a_paced_replay_takes_its_time(start):
    """At a speed of 20 the frames of 39 s take about two."""
    begun_s = time.monotonic()
    start("--replay-speed", "20").communicate(timeout=_PATIENCE_S)
    assert time.monotonic() - begun_s > 39 / 20


def test_a_paced_replay_can_be_stopped(start):
    """SIGTERM ends it with 0 in the middle of a wait."""
    process = start("--replay-speed", "0.01")
    for line in process.stdout:
        if " frame " in line:
            break
    begun_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert time.monotonic() - begun_s < 2
    assert " closed" in log


def test_a_torn_end_is_logged(start, recording):
    """Cut within its last frame: the rest arrives, the exit code is 0, the log says what is missing."""
    recording.write_bytes(recording.read_bytes()[:-1])
    process = start()
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert log.count(" frame topic=activity ") == 39
    assert "recording_torn" in log


def test_damage_ends_it(start, recording):
    """A damaged frame: exit code 1 with its place; what came before it has been used."""
    data = bytearray(recording.read_bytes())
    data[len(data) // 2] ^= 1
    recording.write_bytes(data)
    process = start()
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 1
    assert re.search(r"fatal cause=.* is damaged: at byte \d+", log)
    assert 0 < log.count(" frame topic=activity ") < 40
    assert " closed" in log


def test_the_time_of_frames_is_that_of_one_boots_streams(run_directory):
    """It begins with the first frame and never goes back; statuses and other boots don't change it."""

    def frame(of, mono_ns, boot_id="once"):
        return msgspec.structs.replace(of, node="far", boot_id=boot_id, mono_ns=mono_ns, unix_ns=mono_ns + 7)

    status = decode((_FIXTURES / "status_full.frame").read_bytes())
    runtime = Runtime(
        "exporter", CommonSettings(run=run_directory, node="n", clock="frames"), Log("exporter")
    )
    times = []
    for one in (
        frame(status, 900, "now"),
        frame(_ACTIVITY, 500),
        frame(status, 901),
        frame(_ACTIVITY, 902, "now"),
        frame(_ACTIVITY, 499),
        frame(_ACTIVITY, 501),
    ):
        runtime.take_time(one)
        times.append((runtime.has_time, runtime.now_ns()))
    assert times == [(False, 0), (True, 500), (True, 500), (True, 500), (True, 500), (True, 501)]
    assert (runtime.node, runtime.boot_id) == ("far", "once")


@pytest.mark.parametrize("flags", [["--replay-speed", "-1"], ["--replay", "/no/such.rec"]])
def test_wrong_settings_are_told(start, flags):
    """Exit code 78 and which setting or file it is."""
    process = start(*flags)
    log, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 78
    assert re.search(r"flag --replay-speed: .*got '-1'|there is no recording /no/such.rec", log)
