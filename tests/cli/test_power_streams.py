# SPDX-License-Identifier: Apache-2.0
"""An extra power stream and the commands: `power --name`, up, health, down, tap, record and replay."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.pipeline.pipeline import Pipeline
from tests.wire import foreign_publisher
from wattline.cli.running import find, instance_in
from wattline.errors import Fatal
from wattline.wire.bus import Subscriber, read_last
from wattline.wire.codec import decode, encode
from wattline.wire.frames import Power
from wattline.wire.recording import RecordingWriter
from wattline.wire.rundir import Lock, ServiceDirectory, extra_streams

from .instance import hold
from .recordings import ROOT, environment, payloads, seconds, started, wattline
from .world import SHM, World

BMC, USER, GROUP = "power-bmc", 60610, 60600
STREAMS = f"{BMC}=platform"
RUN = f"{SHM}/one"
PATIENCE_S = 30


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def named_power(run, log, *flags, **settings):
    """A power service under the name of the stream, and its log."""
    command = [sys.executable, "-m", "services.power", "--run", str(run), "--interval-s=0.1", *flags]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(**settings), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def foreign(run, name=BMC, zone="platform"):
    """A stage that knows docs/wire.md alone, once it has published."""
    command = [sys.executable, foreign_publisher.__file__, str(run), os.uname().nodename, name, zone]
    process = subprocess.Popen(command)
    try:
        directory = ServiceDirectory(run, name)
        wait_until(lambda: directory.socket.exists() and read_last(directory))
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def world():
    with World() as opened:
        yield opened


@pytest.mark.parametrize("given", ["flag", "variable"])
def test_a_name_is_directory_producer_and_log(run_directory, tmp_path, given):
    """`wattline power --name power-bmc`, or WATTLINE_NAME, at each start; there is no other directory."""
    directory = ServiceDirectory(run_directory, BMC)
    flags, settings = (["--name", BMC], {}) if given == "flag" else ([], {"name": BMC})
    log = tmp_path / "log"
    runs = []
    for _start in range(2):
        with named_power(run_directory, log, *flags, **settings) as process:
            last = wait_until(lambda: (frame := read_last(directory)) and frame.run not in runs and frame)
            assert (last.topic, last.producer) == ("power", BMC)
            with Subscriber(run_directory, ["status"]) as nothing:
                assert nothing._connections == []
            assert int(directory.pid.read_text(encoding="ascii")) == process.pid
            runs.append(last.run)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    assert " INFO power-bmc started " in log.read_text(encoding="utf-8")
    assert {path.name for path in run_directory.iterdir()} == {BMC}


def test_two_names_run_beside_each_other_and_one_name_once(run_directory, tmp_path):
    """A second process of a name waits for the first one's lock; another name has its own."""
    with (
        named_power(run_directory, tmp_path / "own"),
        named_power(run_directory, tmp_path / "first", "--name", BMC) as first,
        contextlib.ExitStack() as stack,
    ):
        for name in ("power", BMC):
            wait_until(lambda name=name: read_last(ServiceDirectory(run_directory, name)))
        second = tmp_path / "second"
        stack.enter_context(named_power(run_directory, second, "--name", BMC))
        said = "another power-bmc holds"
        wait_until(lambda: said in second.read_text(encoding="utf-8"))
        assert f"holder_pid={first.pid}" in second.read_text(encoding="utf-8")


def test_a_stream_reports_its_own_forbidden_zone(run_directory, tmp_path):
    """Where its own setting lists it, its log and status say what every reader refuses."""
    log = tmp_path / "log"
    flags = ("--name", BMC, "--power.streams", f"{BMC}=gpu")
    with foreign_activity(run_directory), named_power(run_directory, log, *flags):
        wait_until(lambda: "not_allowed" in log.read_text(encoding="utf-8"))
    assert "expected power-bmc to publish only gpu" in log.read_text(encoding="utf-8")


@contextlib.contextmanager
def foreign_activity(run):
    """A probe that reads /proc, for the estimator."""
    command = [sys.executable, "-m", "services.probe", "--run", str(run), "--probe.backend=procfs"]
    process = subprocess.Popen(
        [*command, "--interval-s=0.1"], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def test_health_of_a_stream(run_directory):
    """0 while it publishes, 1 when it has ended or never was; a name that can't be is a wrong command."""
    result = wattline("health", BMC, "--run", run_directory)
    assert (result.returncode, result.stdout.split(":")[0]) == (1, BMC)
    with foreign(run_directory):
        for settings in ({}, {"power_streams": STREAMS}):
            result = wattline("health", BMC, run=str(run_directory), **settings)
            assert result.returncode == 0, result.stdout + result.stderr
            assert result.stdout.startswith("power-bmc: working, last frame 0.")
        result = wattline("health", "--power.streams", STREAMS, "--run", run_directory, BMC)
        assert result.returncode == 0, result.stdout + result.stderr
    result = wattline("health", BMC, "--run", run_directory, "--max-age-s", "0.001")
    assert result.returncode == 1
    result = wattline("health", "powr", "--run", run_directory)
    assert result.returncode == 2
    assert "or a power stream as power-bmc, got 'powr'; did you mean power?" in result.stderr


def test_tap_shows_listed_streams(run_directory):
    """Live and --last; a stream that isn't listed is not there, a forbidden zone is named and not shown."""
    with foreign(run_directory), foreign(run_directory, "power", "package"):
        common = ("--run", run_directory)
        for flags in (["--power.streams", STREAMS], [f"--power.streams={STREAMS}"]):
            result = wattline("tap", *flags, "power", "--last", *common)
            assert result.returncode == 0, result.stderr
            assert [line.split()[2] for line in result.stdout.splitlines()] == ["power", BMC]
        assert wattline("tap", "power", "--last", *common).stdout.count("\n") == 1
        live = wattline("tap", "power", "--count", "40", *common, power_streams=STREAMS)
        assert {line.split()[2] for line in live.stdout.splitlines()} == {"power", BMC}
        refused = wattline("tap", "power", "--last", *common, power_streams=f"{BMC}=gpu")
        assert [line.split()[2] for line in refused.stdout.splitlines()] == ["power"]
        assert "refused the last frame of power-bmc: not_allowed: " in refused.stderr
        with started("tap", "power", *common, power_streams=f"{BMC}=gpu") as process:
            try:
                line = next(text for text in process.stderr if "refused" in text)
            finally:
                process.kill()
        assert re.search(r"refused \d+ \(not_allowed\)", line)


def test_record_keeps_every_listed_stream(run_directory, tmp_path):
    """The summary counts each by its name; unlisted ones are not in the file."""
    path = tmp_path / "two.rec"
    with foreign(run_directory), foreign(run_directory, "power", "package"):
        result = wattline("record", "--power.streams", STREAMS, path, "--for=1s", "--run", run_directory)
        assert result.returncode == 0, result.stderr
        assert result.stderr.startswith("recording activity, power, power-bmc, metadata of ")
        found = re.search(r"activity 0, power (\d+), power-bmc (\d+), metadata 0; lost: ", result.stdout)
        producers = [decode(payload).producer for payload in payloads(path)]
        assert [producers.count(name) for name in ("power", BMC)] == [int(found[1]), int(found[2])]
        assert min(int(found[1]), int(found[2])) > 10
        wattline("record", path, "--force", "--for=0.5s", "--run", run_directory)
    assert {decode(payload).producer for payload in payloads(path)} == {"power"}


def two_streams(path, count):
    """A recording of a machine on paper with a second power stream, and the frames of that."""
    second = []
    with RecordingWriter(path) as writer:
        for frame in seconds(count):
            writer.write(encode(frame))
            if isinstance(frame, Power):
                zones = msgspec.structs.replace(
                    frame.zones, zone=["platform", "other"], source=["bmc"] * len(frame.zones)
                )
                second.append(msgspec.structs.replace(frame, producer=BMC, zones=zones))
                writer.write(encode(second[-1]))
    return second


def test_a_replay_publishes_each_stream_in_its_own_place(run_directory, tmp_path):
    """The last frames are where their stages would have left them; with a list only those in it."""
    path = tmp_path / "two.rec"
    second = two_streams(path, 8)
    for number, streams, expected in (
        (0, "", second[-1]),
        (1, f"{BMC}=platform+other", second[-1]),
        (2, "power=package+dram", None),
    ):
        run = run_directory / str(number)
        flags = ["--power.streams", streams] if streams else []
        result = wattline("replay", path, *flags, "--metrics", "-", "--run", run)
        assert result.returncode == 0, result.stderr
        assert read_last(ServiceDirectory(run, BMC)) == expected
        assert read_last(ServiceDirectory(run, "power")).producer == "power"
        refused = "frame_refused" in result.stderr
        assert refused == (expected is None), result.stderr


def test_a_recording_of_one_stream_replays_as_before(run_directory, tmp_path):
    """The setting of this machine lists a stream that the recording hasn't got: the same to the byte."""
    path = tmp_path / "one.rec"
    with RecordingWriter(path) as writer:
        for frame in seconds(8):
            writer.write(encode(frame))
    results = [
        wattline("replay", path, "--metrics", "-", "--run", run_directory / str(number), **settings)
        for number, settings in enumerate(({}, {"power_streams": STREAMS}))
    ]
    assert [result.returncode for result in results] == [0, 0]
    assert results[0].stdout == results[1].stdout
    assert "kepler_" in results[0].stdout


def test_an_extra_stream_alone_is_an_instance(run_directory):
    """Commands without --run find it, and name its process."""
    locks = hold(run_directory, services=[BMC], up=False)
    try:
        found = next(one for one in find().instances if one.run == run_directory)
        assert found == instance_in(run_directory)
        assert [holder.name for holder in found.holders] == [BMC]
    finally:
        for lock in locks:
            lock.close()


def test_only_directories_as_stages_make_them_are_streams(run_directory):
    """Other directories of such names, links and files are somebody else's."""
    for name in ("power-a", "power-b", "power-C"):
        (run_directory / name).mkdir()
    (run_directory / "power-a").chmod(0o2750)
    (run_directory / "power-C").chmod(0o2750)
    (run_directory / "power-d").symlink_to(run_directory / "power-a")
    (run_directory / "power-e").touch()
    assert extra_streams(run_directory) == ("power-a",)
    assert extra_streams(run_directory / "none") == ()


def test_down_stops_and_removes_an_extra_stream(world):
    """With `up` and without, listed or not."""
    for flags in ([], ["--power.streams", STREAMS]):
        pid = world.instance(RUN)
        extra = world.instance(RUN, f"--services={BMC}", "--no-up")
        result = world.wattline("down", "--run", RUN, *flags)
        assert result.returncode == 0, result.stderr
        assert f"{BMC}: ending process {extra} (signal SIGTERM)" in result.stdout
        assert f"stopped up (pid {pid}) and 6 services; removed {RUN}" in result.stdout
        assert not world.path(RUN).exists()


def test_down_leaves_what_is_not_a_streams(world):
    """A directory of such a name with other things in it, and a stranger's where anybody may make one."""
    world.path(f"{RUN}/power-notes").mkdir(parents=True)
    world.path(f"{RUN}/power-notes/text").touch()
    world.path(f"{RUN}/power-notes").chmod(0o2750)
    world.path(f"{RUN}/power-empty").mkdir()
    world.path(RUN).chmod(0o1777)
    stranger = world.instance(RUN, f"--services={BMC}", "--no-up", uid=60999)
    own = world.instance(RUN, "--services=power-gpu", "--no-up", uid=USER)
    result = world.wattline("down", "--run", RUN, "--power.streams", f"power-gpu:{USER}=gpu")
    assert result.returncode == 0, result.stderr
    assert f"stopped power-gpu (pid {own})" in result.stdout
    assert f"what is not Wattline's: {BMC}, power-empty, power-notes" in result.stdout
    assert world.path(f"/proc/{stranger}").exists()
    assert world.path(f"{RUN}/power-notes/text").exists()


@pytest.fixture
def pipeline(run_directory, pin_path):
    """`up` as root, with a stream of another user; a name in the environment is not for its own power."""
    settings = {"interval_s": "0.2", "power_streams": f"{BMC}:{USER}=platform", "name": BMC}
    with Pipeline(run_directory, pin_path, **settings) as running:
        running.wait_ready()
        yield running


def ups(pipeline):
    return {one.labels["stage"]: one.value for one in pipeline.scrape() if one.name == "wattline_stage_up"}


_AS_USER = f"""
import codecs, fcntl, os, pathlib, struct, sys, time, zlib
import msgpack, zmq
codecs.lookup("ascii")
os.setgroups([])
os.setresgid({GROUP}, {GROUP}, {GROUP})
os.setresuid({USER}, {USER}, {USER})
exec(compile(sys.stdin.read(), "foreign", "exec"))
"""


def as_stream_user(run, *, zone="platform"):
    """A process of the stream's user, in the common group, that publishes in the directory made for it.

    All that it imports is loaded before, since that may lie where only root can read.
    """
    text = Path(foreign_publisher.__file__).read_text(encoding="utf-8")
    command = [sys.executable, "-c", _AS_USER, str(run), os.uname().nodename, BMC, zone]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    return process


def test_up_prepares_the_directory_of_another_users_stream(pipeline):
    """Root's `up` makes it for that user, and makes it anew; readers take its frames, in its zones only."""
    path = pipeline.run / BMC
    info = path.stat()
    assert (info.st_uid, info.st_gid, oct(info.st_mode)[-4:]) == (USER, GROUP, "2750")
    assert pipeline.pid("power") in pipeline.pids().values()
    assert ups(pipeline)[BMC] == 0
    process = as_stream_user(pipeline.run)
    try:
        wait_until(lambda: read_last(ServiceDirectory(pipeline.run, BMC)))

        def has_platform():
            zones = read_last(ServiceDirectory(pipeline.run, "calculator")).zones
            return "foreign" in zones.source

        pipeline.wait_until(has_platform)
        result = pipeline.wattline("health", BMC)
        assert result.returncode == 0, result.stdout + result.stderr
        assert not pipeline.said("frame_refused")
    finally:
        process.kill()
        process.wait()
    shutil.rmtree(path)
    (line,) = pipeline.wait_until(lambda: pipeline.said(f"{BMC} was removed or replaced"))
    assert line.endswith("made anew; its stage is not one that `up` starts")
    assert path.stat().st_uid == USER
    process = as_stream_user(pipeline.run, zone="package")
    try:
        said = r"calculator .*frame_refused .*not_allowed.*only platform"
        pipeline.wait_until(lambda: pipeline.said(said))
    finally:
        process.kill()
        process.wait()
    assert pipeline.process.poll() is None


def test_up_leaves_the_name_to_others(tmp_path):
    """`wattline up --name` would lose its own power: refused, with the reason."""
    result = wattline("up", "--name", BMC, "--run", tmp_path / "run")
    assert result.returncode == Fatal.USAGE
    assert "--name is a flag of single services" in result.stderr
    assert not (tmp_path / "run").exists()


def test_in_a_shared_run_directory_a_stream_starts_as_its_own_user_alone(run_directory, tmp_path):
    """As under Compose: with the wrong user it ends with 77, and the words name the setting."""
    os.chown(run_directory, 0, GROUP)
    run_directory.chmod(0o1770)
    log = tmp_path / "log"
    for streams, words in (
        ("", f"expected {GROUP + 1}, whose name power-bmc is in"),
        (f"{BMC}:{USER}=platform", f"expected {USER}, whose name power-bmc is in"),
    ):
        with named_power(run_directory, log, "--name", BMC, power_streams=streams) as process:
            assert process.wait(20) == Fatal.PERMISSION
        assert words in log.read_text(encoding="utf-8")
        assert "set power.streams to power-bmc:0=ZONE for all stages" in log.read_text(encoding="utf-8")
    with named_power(run_directory, log, "--name", BMC, power_streams=f"{BMC}:0=platform"):
        wait_until(lambda: read_last(ServiceDirectory(run_directory, BMC, 0)))
    with Lock(ServiceDirectory(run_directory, BMC).lock) as lock:
        assert lock.acquire()
