# SPDX-License-Identifier: Apache-2.0
"""`wattline replay`: the same recording gives the same books, and nothing is left behind."""

import http.client
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.pipeline.books import check_books
from tests.pipeline.metrics import read
from wattline.cli.canonical_metrics import canonical
from wattline.wire.bus import Subscriber, read_last
from wattline.wire.codec import decode, encode
from wattline.wire.recording import MAGIC, RecordingWriter
from wattline.wire.rundir import ServiceDirectory

from .recordings import ROOT, environment, make, payloads, seconds, started, wattline

PATIENCE_S = 30
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 where it is made


def temporary(process):
    """Run directories of a replay, which tests/hygiene sees as well if they stay."""
    return set(SHARED_MEMORY.glob(f"wattline-replay-{process.pid}-*"))


@pytest.fixture(scope="module")
def minute(tmp_path_factory):
    return make(tmp_path_factory.mktemp("recordings") / "minute.rec", 60)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value


def fetched(address, path):
    """(status, body)."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def serving(*arguments):
    """A replay that has said where its metrics are; (process, address)."""
    with started("replay", *arguments) as process:
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"^metrics of the replay: http://(\S+)/metrics$", line):
                    yield process, found[1]
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.kill()


@pytest.mark.e2e
def test_an_hour_replayed_twice_is_the_same_to_the_byte(tmp_path, run_directory):
    """3,600 s of three streams: equal ledgers, equal metrics, and books that close on the recorded energy."""
    recording = make(tmp_path / "hour.rec", 3600)
    ledgers, metrics = [], []
    for number in range(2):
        run = run_directory / str(number)
        result = wattline("replay", recording, "--metrics", "-", "--run", run)
        assert result.returncode == 0, result.stderr
        assert "WARNING" not in result.stderr
        ledgers.append((run / "calculator" / "ledger").read_bytes())
        metrics.append(result.stdout)
    assert ledgers[0] == ledgers[1]
    assert metrics[0] == metrics[1]
    series = read(metrics[0].encode())
    assert not [one.name for one in series if one.name.startswith(("wattline_stage_", "wattline_exporter_"))]
    check_books(series)
    frames = [decode(payload) for payload in payloads(recording)]
    (first, last) = (next(f for f in order if f.topic == "power") for order in (frames, reversed(frames)))
    for zone in ("package", "dram"):
        row = last.zones.zone.index(zone)
        measured = sum(one.value for one in series if one.name == f"kepler_node_{zone}_joules_total")
        assert 0 < measured <= Decimal(last.zones.energy_uj[row]).scaleb(-6)
        assert measured >= Decimal(last.zones.energy_uj[row] - first.zones.energy_uj[row]).scaleb(-6)


def test_speed_changes_nothing_but_the_time_it_takes(minute, tmp_path):
    """A paced replay ends with the same metrics as one at full speed, after the recorded time ÷ the speed."""
    fast = wattline("replay", minute, "--metrics", "-")
    begun_s = time.monotonic()
    paced = wattline("replay", minute, "--metrics", tmp_path / "out", "--speed", "20")
    assert time.monotonic() - begun_s > 59 / 20
    assert paced.returncode == 0, paced.stderr
    assert (tmp_path / "out").read_text() == fast.stdout
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_what_it_gives_is_of_the_recording_not_of_this_machine(minute, run_directory):
    """Node, boot, run and every time in the frames are the recording's, however late it is replayed."""
    run = run_directory / "r"
    assert wattline("replay", minute, "--metrics", "-", "--run", run, node="here").returncode == 0
    energy = read_last(ServiceDirectory(run, "calculator"))
    frames = [decode(payload) for payload in payloads(minute)]
    assert (energy.node, energy.boot_id, energy.run) == ("paper", "boot", frames[0].mono_ns)
    assert frames[0].mono_ns <= energy.mono_ns <= frames[-1].mono_ns + 1000
    assert energy.unix_ns == energy.mono_ns  # as it is in the frames
    assert read_last(ServiceDirectory(run, "metadata")) == frames[-2]


def test_the_metrics_are_served_until_it_is_told_to_stop(minute):
    """Without --metrics the exporter goes on serving, ready as at the recording's end, until Ctrl-C."""
    canonical_text = wattline("replay", minute, "--metrics", "-").stdout
    with serving(minute) as (process, address):
        wait_until(lambda: fetched(address, "/-/ready")[0] == 200)
        text = wait_until(
            lambda: "wattline_zone_joules_total" in (t := fetched(address, "/metrics")[1].decode()) and t
        )
        assert canonical(text) == canonical_text
        assert temporary(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert not temporary(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_can_be_stopped_amid(minute, number):
    """Ctrl-C and SIGTERM end a slow replay with exit code 1, and all it started and made goes."""
    with serving(minute, "--speed", "1") as (process, _address):
        assert temporary(process)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 1
        assert not temporary(process)
        assert "interrupted before the end" in process.stderr.read()


def test_the_streams_of_a_paced_replay_can_be_tapped(minute, run_directory):
    """With a speed the recorded frames come on their streams again, and energy beside them."""
    run = run_directory / "r"
    with serving(minute, "--speed", "10", "--run", run) as (process, _address):
        seen = {}
        with Subscriber(run, ["activity", "power", "metadata", "energy"]) as subscriber:

            def enough():
                subscriber.connect()
                subscriber.poll(50)
                for frame in subscriber.receive():
                    seen.setdefault(frame.topic, []).append(frame)
                return len(seen) == 4 and all(len(of_topic) > 5 for of_topic in seen.values())

            wait_until(enough)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    recorded = set(payloads(minute))
    for topic in ("activity", "power", "metadata"):
        assert {encode(frame) for frame in seen[topic]} <= recorded


def test_a_torn_end_is_replayed_up_to_it_and_told(minute, tmp_path):
    """A recording cut by a crash: its whole frames are replayed, exit code 0, and it is said."""
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    cut.write_bytes(minute.read_bytes()[:-10])
    with RecordingWriter(whole) as writer:
        for payload in payloads(minute)[:-1]:
            writer.write(payload)
    result = wattline("replay", cut, "--metrics", "-")
    assert result.returncode == 0
    assert "ends within a record" in result.stderr
    assert result.stdout == wattline("replay", whole, "--metrics", "-").stdout


def test_damage_ends_a_replay(minute, tmp_path):
    """A damaged frame amid is an error with its place; no metrics are given out as if nothing were."""
    data = bytearray(minute.read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a").write_bytes(data)
    result = wattline("replay", tmp_path / "a", "--metrics", "-")
    assert result.returncode == 1
    assert re.search(r"is damaged: at byte \d+ it has a", result.stderr)
    assert result.stdout == ""


def test_calculator_settings_can_be_tried(minute):
    """Flags that are not the replay's own go to the calculator: the same hour by another policy."""
    result = wattline("replay", minute, "--metrics", "-", "--idle-policy=even")
    assert result.returncode == 0, result.stderr
    assert 'mode="idle"' in "".join(
        line for line in result.stdout.splitlines() if line.startswith("kepler_container_package")
    )
    wrong = wattline("replay", minute, "--metrics", "-", "--idle-policy=sometimes")
    assert wrong.returncode == 78
    assert "idle-policy" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (None, 78, "there is no recording"),
        (b"", 78, "is no recording: it is empty, expected b'wattline recording 1"),
        (b"kepler_node", 78, "is no recording: it begins with b'kepler_node'"),
        (b"wattline recording 7\n", 78, "is a recording of version 7, expected 1"),
        (MAGIC, 78, "is a recording without a frame of activity, metadata, power"),
    ],
)
def test_bad_input_is_told(tmp_path, content, code, said):
    """No file, an empty, another or a newer one, one without frames: what, expected, got, no traceback."""
    path = tmp_path / "a.rec"
    if content is not None:
        path.write_bytes(content)
    result = wattline("replay", path, "--metrics", "-")
    assert result.returncode == code
    assert said in result.stderr
    assert str(path) in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("speed", ["-1", "fast", "", "nan", "1x"])
def test_a_wrong_speed_is_told(minute, speed):
    """Exit code 2 with what was expected."""
    result = wattline("replay", minute, f"--speed={speed}")
    assert result.returncode == 2
    assert "--speed: expected how many times as fast" in result.stderr


def test_too_short_a_recording_is_told(tmp_path):
    """One frame gives no energy, and that is said instead of metrics without any."""
    with RecordingWriter(tmp_path / "a") as writer:
        writer.write(encode(next(seconds(1))))
    result = wattline("replay", tmp_path / "a", "--metrics", "-")
    assert result.returncode == 1
    assert "gave no energy" in result.stderr


def test_the_state_of_another_run_is_never_touched(minute, run_directory):
    """A --run with something in it is refused, by the command and by the calculator, and stays as it was."""
    run = run_directory / "r"
    assert wattline("replay", minute, "--metrics", "-", "--run", run).returncode == 0
    ledger = (run / "calculator" / "ledger").read_bytes()
    again = wattline("replay", minute, "--metrics", "-", "--run", run)
    assert again.returncode == 2
    assert "expected a new or empty directory" in again.stderr
    alone = wattline("calculator", "--replay", minute, "--run", run)
    assert alone.returncode == 78
    assert "is the state of another run" in alone.stdout
    assert (run / "calculator" / "ledger").read_bytes() == ledger


def test_what_is_of_the_moment_is_not_canonical():
    """Families of stages, exporter, builds and ages go, with their comments; all else stays in order."""
    kept = [
        "# HELP kepler_node_package_joules_total Energy.",
        "# TYPE kepler_node_package_joules_total counter",
        'kepler_node_package_joules_total{package="0"} 1.000000',
        "wattline_zone_gaps_total 0",
        'wattline_source_up{source="ebpf"} 1.0',
    ]
    gone = [
        "# HELP wattline_stage_up 1 if.",
        'wattline_stage_up{stage="probe"} 1.0',
        'wattline_exporter_responses_total{code="200"} 4.0',
        'wattline_build_info{version="1"} 1.0',
        'kepler_exporter_build_info{version="1"} 1',
        'kepler_node_info{cpu_architecture="x86_64"} 1',
        "wattline_zone_age_seconds 3",
    ]
    mixed = [line for pair in zip(kept, gone, strict=False) for line in pair] + gone[len(kept) :]
    assert canonical("".join(f"{line}\n" for line in mixed)).splitlines() == kept


@pytest.mark.parametrize("through", ["file", "stdout"])
def test_metrics_that_find_no_room_are_told(minute, through):
    """A full disk: one line, exit code 1, no traceback."""
    command = ["replay", minute, "--metrics", "/dev/full" if through == "file" else "-"]
    with open("/dev/full", "w", encoding="ascii") as full:  # noqa: PTH123
        process = subprocess.run(
            [sys.executable, "-m", "wattline.cli", *map(str, command)],
            cwd=ROOT,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert f"wattline replay: --metrics {command[-1]}: No space left on device" in process.stderr
