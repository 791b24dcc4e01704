# SPDX-License-Identifier: Apache-2.0
"""`wattline up`, `down`, `health` and `tap` as their user meets them."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline.pipeline import SERVICES


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def is_alive(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"  # an orphan stays until this process waits for it
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def pipeline(run_directory, pin_path):
    with Pipeline(run_directory, pin_path, interval_s="0.2") as running:
        running.wait_ready()
        yield running


def counters(series):
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for one in series
        if one.name.endswith("_total") and not one.name.startswith(("wattline_stage", "wattline_exporter"))
    }


def test_five_processes_and_their_places(pipeline):
    """Each service is a process with its pid file; all but the probe run as users of their own."""
    pids = pipeline.pids()
    assert len(set(pids.values())) == 5
    users = {service: status_of(pid) for service, pid in pids.items()}
    assert users["probe"]["Uid"].split()[0] == "0"
    others = [users[service] for service in SERVICES if service != "probe"]
    assert len({one["Uid"] for one in others}) == 4
    for one in others:
        assert set(one["Uid"].split()) == {one["Uid"].split()[0]} != {"0"}
        assert one["Groups"].strip() == ""
    for service in SERVICES:
        info = (pipeline.run / service).stat()
        assert oct(info.st_mode)[-4:] == "2750"
        assert str(info.st_uid) == users[service]["Uid"].split()[0]


def test_ctrl_c_leaves_nothing_behind(run_directory, pin_path):
    """After Ctrl-C no process, no pinned program and no socket is left; the books stay for the next start."""
    with Pipeline(run_directory, pin_path) as running:
        running.wait_ready()
        pids = running.pids()
    assert running.process.returncode == 0
    assert not any(is_alive(pid) for pid in pids.values())
    assert not pin_path.exists()
    left = {path.name for path in run_directory.rglob("*") if path.is_file() or path.is_socket()}
    assert left == {"last", "lock", "ledger"}


@pytest.mark.parametrize("victim", SERVICES)
def test_a_killed_stage_comes_back_and_nothing_falls(pipeline, victim):
    """kill -9 of one stage: the others keep running, it returns, and no published counter ever falls."""
    before_pids, highest = pipeline.pids(), counters(pipeline.scrape())
    epoch = json.loads(pipeline.wattline("tap", "--last", "--json", "activity").stdout)["epoch"]
    os.kill(before_pids[victim], signal.SIGKILL)
    pipeline.wait_until(lambda: pipeline.said(rf"{victim} ended by signal 9; restarting"))

    def returned():
        try:
            return pipeline.pid(victim) != before_pids[victim]
        except (FileNotFoundError, ValueError):
            return False

    pipeline.wait_until(returned)
    pipeline.wait_ready()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        now = counters(pipeline.scrape())
        fell = {
            name: (highest[name], now[name]) for name in highest if name in now and now[name] < highest[name]
        }
        assert not fell
        highest |= now
        time.sleep(0.2)
    others = [service for service in SERVICES if service != victim]
    assert {service: pipeline.pid(service) for service in others} == {
        service: before_pids[service] for service in others
    }
    again = json.loads(pipeline.wattline("tap", "--last", "--json", "activity").stdout)
    assert again["epoch"] == epoch
    reasons = {
        one.labels["reason"]
        for one in pipeline.scrape()
        if one.name == "wattline_unattributed_joules_total" and one.value
    }
    assert reasons <= {"idle_policy"}  # a busy machine has no idle energy


def test_up_killed_takes_the_others_along_and_down_cleans(run_directory, pin_path):
    """kill -9 of `up` ends the services too; `down` then removes what is left."""
    with Pipeline(run_directory, pin_path) as running:
        running.wait_ready()
        pids = running.pids()
        running.process.kill()
        wait_for(lambda: not any(is_alive(pid) for pid in pids.values()))
    result = running.wattline("down")
    assert result.returncode == 0, result.stderr
    assert not pin_path.exists()
    assert not list(run_directory.glob("*"))
    run_directory.mkdir(exist_ok=True)


def test_down_ends_a_running_up(run_directory, pin_path):
    """`down` stops `up` and the five, and leaves neither files nor pins."""
    with Pipeline(run_directory, pin_path) as running:
        running.wait_ready()
        pids = running.pids()
        result = running.wattline("down")
        assert result.returncode == 0, result.stderr
        assert not any(is_alive(pid) for pid in pids.values())
    assert not pin_path.exists()
    run_directory.mkdir(exist_ok=True)


def test_down_spares_a_stranger_with_the_same_pid(run_directory, pin_path):
    """A pid file proves nothing: a process that doesn't hold our lock is not ended."""
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (run_directory / "probe").mkdir()
        (run_directory / "probe" / "pid").write_text(str(stranger.pid), encoding="ascii")
        (run_directory / "probe" / "lock").touch()
        pipeline = Pipeline(run_directory, pin_path)
        assert pipeline.wattline("down").returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    run_directory.mkdir(exist_ok=True)


def test_down_follows_no_link_to_a_strangers_lock(run_directory, pin_path, tmp_path):
    """Whoever can write in a service's directory can't make `down` end the holder of another lock."""
    foreign = tmp_path / "foreign.lock"
    holder = subprocess.Popen(
        ["flock", str(foreign), "-c", "echo held; sleep 60"], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        (run_directory / "metadata").mkdir()
        (run_directory / "metadata" / "lock").symlink_to(foreign)
        assert Pipeline(run_directory, pin_path).wattline("down").returncode == 0
        assert holder.poll() is None
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()
    run_directory.mkdir(exist_ok=True)


def test_a_second_up_is_refused(pipeline):
    """Two in one run directory would take each other's sockets: the second says who is there."""
    result = pipeline.wattline("up")
    assert result.returncode == 1
    assert f"pid {pipeline.process.pid}" in result.stderr


def test_a_setting_that_cannot_work_ends_up(run_directory, pin_path):
    """A service that ends with 78 isn't restarted for ever: `up` ends with the same code and the reason."""
    with Pipeline(run_directory, pin_path, idle_policy="sometimes") as running:
        assert running.process.wait(30) == 78
    assert running.said(r"idle-policy.*WATTLINE_IDLE_POLICY.*sometimes")
    assert not pin_path.exists()


def test_a_stop_and_a_start_are_told_without_alarm(run_directory, pin_path):
    """Totals go on; the time between is named once, at level info, and nothing is counted as an error."""
    for _start in range(2):
        # As on a machine without a meter, whichever this one is: that start has the most to say.
        sysfs = run_directory / "nothing"
        with Pipeline(run_directory, pin_path, interval_s="0.2", path_sysfs=str(sysfs)) as running:
            running.wait_ready()
            series = running.scrape()
    assert running.said(r"calculator books recovered=True")
    (gap,) = running.said(r" power gap ")
    assert re.search(r" INFO power gap cause=\"energy between .* and its new start at .* is not counted", gap)
    assert not [line for line in running.said(" (WARNING|ERROR) ") if " power no_meter " not in line]
    assert not [line for line in running.log if "lost" in line]
    errors = [one for one in series if one.name == "wattline_stage_errors_total" and one.value]
    assert errors == []


def test_health_follows_the_age_of_the_last_frame(pipeline):
    """0 while frames come, 1 when they have stopped coming."""
    for service in SERVICES:
        assert pipeline.wattline("health", service).returncode == 0
    os.kill(pipeline.pid("metadata"), signal.SIGSTOP)
    wait_for(lambda: pipeline.wattline("health", "metadata", "--max-age-s", "1").returncode == 1)
    os.kill(pipeline.pid("metadata"), signal.SIGCONT)
    wait_for(lambda: pipeline.wattline("health", "metadata", "--max-age-s", "1").returncode == 0)


def test_tap_shows_each_topic_as_a_line(pipeline):
    """By default a line a frame; --json the whole of it; --rows its tables; --last what was said last."""
    result = pipeline.wattline("tap", "--count", "20")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 20
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} \w+ +\w+ #\d+  \S", line) for line in lines)
    assert {line.split()[1] for line in lines} == {"activity", "power", "metadata", "energy", "status"}
    whole = json.loads(pipeline.wattline("tap", "energy", "--json", "--count", "1").stdout)
    assert whole["topic"] == "energy"
    assert whole["zones"]["zone"] == ["dram", "package", "platform", "other"]
    assert len(whole["zones"]["measured_uj"]) == 4
    rows = pipeline.wattline("tap", "power", "--rows", "--last").stdout
    assert "zones (3 rows)" in rows
    assert "platform" in rows
    last = pipeline.wattline("tap", "--last").stdout.splitlines()
    assert [line.split()[2] for line in last] == list(SERVICES)
    assert pipeline.wattline("tap", "nonsense").returncode == 2
