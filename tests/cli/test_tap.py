# SPDX-License-Identifier: Apache-2.0
"""`wattline tap` and `record` where nothing runs, where rights are missing, and as they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from wattline.pipeline import PRODUCER_OF_TOPIC, SERVICES
from wattline.power_streams import ONLY_POWER, parse_power_streams
from wattline.wire.bus import Publisher
from wattline.wire.codec import decode
from wattline.wire.rundir import Lock, ServiceDirectory

from .recordings import ROOT, environment, started, wattline
from .world import SHM, World

USER, GROUP = 60999, 60600
RUN = f"{SHM}/one"
NEVER = f"{SHM}/wl-{os.getpid()}-never"  # never made
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
VALID = Path(__file__).parents[1] / "wire/fixtures/valid"


@pytest.fixture
def world():
    with World() as opened:
        yield opened


@pytest.fixture
def published(run_directory):
    """A run directory with a last frame of power and one of energy; only the publisher of power lives."""
    now_ns = time.monotonic_ns()
    with Lock(_published(run_directory, "power", now_ns).lock) as lock:
        assert lock.acquire()
        _published(run_directory, "energy", now_ns - 93_000_000_000)
        yield run_directory


def _published(run, topic, mono_ns):
    """The directory of a topic's service, in which a frame was published."""
    directory = ServiceDirectory(run, PRODUCER_OF_TOPIC[topic])
    directory.prepare()
    frame = decode((VALID / f"{topic}_full.frame").read_bytes())
    times = {"boot_id": BOOT_ID, "mono_ns": mono_ns, "interval_ns": 1_000_000_000}
    publisher = Publisher(directory)
    publisher.publish(msgspec.structs.replace(frame, **times), is_state=True)
    publisher.close()
    return directory


def as_user(run, *arguments, uid=USER):
    """A command as another user on a run directory of this machine."""
    command = [sys.executable, "-m", "tests.cli.as_user", str(uid), *map(str, arguments), "--run", str(run)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30)


def test_last_says_how_old_and_by_whom(published):
    """A publisher that lives by its process id, one that has ended as such."""
    lines = wattline("tap", "--last", "--run", published).stdout.splitlines()
    assert len(lines) == 2
    assert re.search(rf"\(\d\.\d s old, published by pid {os.getpid()}\)$", lines[0])
    assert re.search(r"\(\d\d s old, its publisher has ended\)$", lines[1])


def test_json_stays_json(published):
    """Nothing is added to it."""
    lines = wattline("tap", "--last", "--json", "--run", published).stdout.splitlines()
    assert [json.loads(line)["topic"] for line in lines] == ["power", "energy"]


@pytest.mark.parametrize("command", [["tap"], ["tap", "--last"], ["record", NEVER]])
def test_without_rights_there_is_one_line_at_once(published, command):
    """77 with the cure, which is the same command through sudo, or the group; nothing is made."""
    for service in ("power", "calculator"):
        os.chown(published / service, 0, GROUP)
        (published / service).chmod(0o2750)
    begun_s = time.monotonic()
    result = as_user(published, *command)
    assert time.monotonic() - begun_s < 5
    assert result.returncode == 77
    assert len(result.stderr.splitlines()) == 1
    assert f"run `sudo wattline {' '.join(command)} --run {published}`" in result.stderr
    assert re.search(rf"may not read {published}/\S*power", result.stderr)
    assert f"group {GROUP}" in result.stderr
    assert result.stdout == ""
    assert not Path(NEVER).exists()


def test_a_member_of_the_group_reads(published):
    """No root is needed."""
    for path in (published / "power", published / "power/last"):
        os.chown(path, 0, GROUP)
    (published / "power").chmod(0o2750)
    result = as_user(published, "tap", "--last", "power", uid=GROUP)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_what_can_be_read_is_shown(published):
    """Some services are closed: it says which, and goes on with the others."""
    for path in (published / "power", published / "power/last"):
        os.chown(path, 0, USER)
    (published / "power").chmod(0o2750)
    result = as_user(published, "tap", "--last")
    assert result.returncode == 0
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["power"]
    assert len(result.stderr.splitlines()) == 1
    assert f"uid {USER} may not read {published}/calculator" in result.stderr
    assert "showing the others" in result.stderr


def test_a_run_directory_that_is_closed_itself(published):
    """No group is recommended: only root can look inside."""
    published.chmod(0o700)
    result = as_user(published, "tap")
    assert result.returncode == 77
    assert "sudo" in result.stderr
    assert "group" not in result.stderr


def test_a_group_that_may_not_read_is_no_cure(published):
    """Only one whose members may enter the directory is named."""
    os.chown(published / "power", 0, GROUP)
    (published / "power").chmod(0o2700)
    result = as_user(published, "tap", "power")
    assert result.returncode == 77
    assert "group" not in result.stderr


def test_only_the_wanted_services_matter(published):
    """Closed ones whose topics were not asked for are no concern."""
    for path in (published / "power", published / "power/last"):
        os.chown(path, 0, USER)
    (published / "power").chmod(0o2750)
    result = as_user(published, "tap", "--last", "power")
    assert (result.returncode, result.stderr) == (0, "")
    result = as_user(published, "tap", "--last", "energy")
    assert result.returncode == 77


def test_services_that_appear_closed_end_the_wait(run_directory):
    """A tap that waits for a Wattline that it may not read then ends with 77 too."""
    command = [sys.executable, "-m", "tests.cli.as_user", str(USER), "tap", "--run", str(run_directory)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        assert "waiting" in process.stderr.readline()
        directory = ServiceDirectory(run_directory, "power")
        directory.prepare()
        _output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 77
    assert f"may not read {run_directory}/power" in errors


def test_where_nothing_runs_it_says_where_it_looked(world):
    """In the default directory; --last ends with 1, otherwise it waits."""
    result = world.wattline("tap", "--last", "power")
    assert result.returncode == 1
    assert f"no frame of power in {SHM}/wattline; no Wattline runs elsewhere either" in result.stderr
    process = world.start("wattline.cli", "tap")
    assert re.search(
        rf"nothing runs in {SHM}/wattline; no Wattline runs elsewhere either; waiting",
        process.stderr.readline(),
    )
    assert process.poll() is None


def test_a_named_directory_where_nothing_runs(world):
    """It says where Wattline does run, and how to get there."""
    world.instance(RUN)
    process = world.start("wattline.cli", "tap", run=f"{SHM}/typo")
    line = process.stderr.readline()
    assert f"nothing runs in {SHM}/typo; Wattline runs in {RUN}: add --run {RUN}; waiting" in line
    result = world.wattline("record", f"{SHM}/a", "--for", "0.3s", run=f"{SHM}/typo")
    assert result.returncode == 1
    assert f"add --run {RUN}" in result.stderr
    result = world.wattline("tap", "--last", run=f"{SHM}/typo")
    assert result.returncode == 1
    assert f"add --run {RUN}" in result.stderr


def test_the_only_one_is_used(world):
    """Without --run, and said."""
    world.instance(RUN)
    for command in (["tap", "--last"], ["record", f"{SHM}/a", "--for", "0.3s"]):
        result = world.wattline(*command)
        assert f"nothing runs in {SHM}/wattline; using {RUN}, where Wattline runs" in result.stderr
        assert "is not a directory" not in result.stderr


def test_root_s_is_found_by_a_user_who_may_not_read_it(world):
    """The cure names the directory that WATTLINE_RUN would have named."""
    world.instance(RUN)
    result = world.as_user(USER, "tap")
    assert result.returncode == 77
    assert f"run `sudo wattline tap --run {RUN}`" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_is_clean(published, number):
    """Ctrl-C while it waits: exit code 0 and no traceback."""
    with started("tap", "--run", published) as process:
        try:
            assert "power" in process.stdout.readline() + process.stdout.readline()
            process.send_signal(number)
            _output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == (0 if number == signal.SIGINT else -signal.SIGTERM)
    assert errors == ""


@pytest.mark.parametrize("count", ["0", "-1", "some"])
def test_a_wrong_count_is_told(count):
    """Exit code 2; zero frames would be waited for without end."""
    result = wattline("tap", f"--count={count}")
    assert result.returncode == 2
    assert "expected a number of frames above 0" in result.stderr


def test_the_run_flag_s_value_is_no_topic(published):
    """As two words, before the topics."""
    result = wattline("tap", "--run", published, "power", "--last")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1


def test_every_stage_has_its_place():
    """The stages of the topics that were asked for, in the pipeline's order, extra streams after power."""
    assert ONLY_POWER.producers_of(["status"]) == SERVICES
    assert ONLY_POWER.producers_of(["energy", "activity"]) == ("probe", "calculator")
    streams = parse_power_streams("power-bmc=platform")
    assert streams.producers_of(["power", "activity"]) == ("probe", "power", "power-bmc")
    assert streams.producers_of(["energy"]) == ("calculator",)
    assert set(streams.producers_of(["status"])) == {*SERVICES, "power-bmc"}
