# SPDX-License-Identifier: Apache-2.0
"""A pytest in a process of its own, with one small test that leaves a thing of each kind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hygiene import neighbours, removal, started, traces
from wattline.mounts import mounts

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60

# Leaves: a child with a child, in a cgroup below ours, and an orphan; pins; mounts in shared memory and in
# tmp_path; cgroups of both versions, and a hierarchy; directories. Then it ends as it is told.
LEAVE = """
import json, os, subprocess, sys, time
from pathlib import Path
import pytest
from services.probe.ebpf.mounts import BPFFS, have_mounted
from tests.hygiene.names import own_name
from wattline.mounts import mounts

@pytest.fixture
def places(run_directory, cgroup, tmp_path):
    return run_directory, cgroup, tmp_path

def leave(run_directory, cgroup, tmp_path):
    have_mounted("bpf", BPFFS)
    inner = cgroup / "inner"
    inner.mkdir()
    child = subprocess.Popen(
        ["sh", "-c", "echo $$ > $0/cgroup.procs; setsid sleep 600 & echo $!; exec sleep 600", str(inner)],
        stdout=subprocess.PIPE, text=True,
    )
    orphan = subprocess.run(
        ["sh", "-c", "trap '' TERM HUP; setsid sleep 600 >&- & echo $!"], stdout=subprocess.PIPE, text=True
    )
    replay = subprocess.Popen(["true"])  # a name may have the id of a process that was started here
    replay.wait()
    paths = [inner, BPFFS / own_name(), tmp_path / "two words", run_directory / "mount"]
    paths += [place / own_name() for place, kind in mounts() if kind == "cgroup"][:1]
    paths += [Path("/var/tmp") / own_name("wl"), Path("/dev/shm") / f"wattline-replay-{replay.pid}-x"]
    for path in paths[1:]:
        path.mkdir(exist_ok=True)
    for path in paths[2:4]:
        subprocess.run(["mount", "-t", "tmpfs", "wattline-test", str(path)], check=True)
    hierarchy, name = tmp_path / "hierarchy", own_name()
    hierarchy.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", f"none,name={name}", name, str(hierarchy)], check=True)
    (hierarchy / "inner").mkdir()
    (paths[3] / "file").touch()
    pids = [child.pid, int(child.stdout.readline()), int(orphan.stdout)]
    report = {"pids": pids, "paths": [str(path) for path in paths if path.parent != tmp_path],
              "mounts": [str(path) for path in [*paths[2:4], hierarchy]], "hierarchies": [name]}
    Path(os.environ["REPORT"]).write_text(json.dumps(report))
"""
ENDS = {
    "passes": "def test_it(places): leave(*places)",
    "fails": "def test_it(places): leave(*places); assert False",
    "waits": "def test_it(places): leave(*places); time.sleep(600)",
    "cannot begin": """
@pytest.fixture(scope="module")
def thing(tmp_path_factory):
    run = Path("/dev/shm") / own_name("wl")
    cgroup = next(place for place, kind in mounts() if kind == "cgroup2") / own_name()
    run.mkdir()
    cgroup.mkdir()
    leave(run, cgroup, tmp_path_factory.mktemp("x"))
    raise RuntimeError("cannot begin")
def test_it(thing): pass
""",
}


def started_pytest(tmp_path: Path, end: str, *options: str) -> tuple[subprocess.Popen, Path]:
    """A running pytest on that test; where it reports what it has left."""
    test, report = tmp_path / "test_small.py", tmp_path / "report"
    test.write_text(LEAVE + ENDS[end], encoding="utf-8")
    # A run that was started by nohup ignores SIGHUP, and so would what it starts.
    command = [
        "env",
        "--default-signal=HUP",
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    command += [f"--rootdir={tmp_path}", "-o", "markers=alone", "-q", *options, str(test)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"REPORT": str(report), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, report


def wait_for(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.02)


def check_nothing_left(report: Path) -> None:
    """Orphans of that pytest would come to us, for it has ended."""
    left = json.loads(report.read_text(encoding="utf-8"))
    assert [pid for pid in left["pids"] if started.is_descendant(pid)] == []
    assert [path for path in left["paths"] if os.path.lexists(path)] == []
    assert not {Path(path) for path in left["mounts"]} & {place for place, _kind in mounts()}
    assert not set(left["hierarchies"]) & set(traces.hierarchies())
    assert len(left["pids"]) + len(left["paths"]) >= 8


@pytest.mark.parametrize(("end", "summary"), [("passes", "1 passed, 1 error"), ("fails", "1 failed")])
def test_whatever_a_test_leaves_is_removed(tmp_path, end, summary):
    """Processes, orphans, pins, mounts, cgroups, directories; a test that would have passed fails for it."""
    process, report = started_pytest(tmp_path, end)
    output, _ = process.communicate(timeout=PATIENCE_S)
    print(output)
    assert process.returncode == 1
    assert summary in output.splitlines()[-1]
    kinds = ("process ", "pin /", "mount /", "cgroup /", "hierarchy ", "directory /var/tmp/wl-")
    for word in (*kinds, "(sleep)", "wattline-replay-"):
        assert word in output
    check_nothing_left(report)


def test_a_fixture_that_cannot_begin_leaves_nothing(tmp_path):
    """What a fixture of a wider scope made before it failed is not taken for what lives on."""
    process, report = started_pytest(tmp_path, "cannot begin")
    output, _ = process.communicate(timeout=PATIENCE_S)
    print(output)
    assert "1 error" in output.splitlines()[-1]
    check_nothing_left(report)


def test_a_test_that_takes_too_long_leaves_nothing(tmp_path):
    """pytest-timeout ends it where it stands; all is removed, and the run goes on."""
    process, report = started_pytest(tmp_path, "waits", "-o", "timeout=5", "-o", "timeout_method=signal")
    output, _ = process.communicate(timeout=PATIENCE_S)
    print(output)
    assert "Timeout" in output
    assert "1 failed" in output.splitlines()[-1]
    check_nothing_left(report)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.e2e),
        pytest.param(signal.SIGHUP, marks=pytest.mark.e2e),
    ],
)
def test_a_run_that_is_stopped_leaves_nothing(tmp_path, number):
    """Ctrl-C, twice for the impatient, and what supervisors and terminals send."""
    process, report = started_pytest(tmp_path, "waits")
    wait_for(report.exists)
    process.send_signal(number)
    if number == signal.SIGINT:
        time.sleep(0.1)
        process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE_S)
    print(output)
    assert process.returncode != 0
    check_nothing_left(report)


def test_what_a_killed_run_leaves_goes_with_the_next(tmp_path, tmp_path_factory):
    """SIGKILL gives no time to clean up; a mount left so has once broken Docker in the next run."""
    process, report = started_pytest(tmp_path, "waits")
    wait_for(report.exists)
    process.kill()
    process.communicate()
    left = json.loads(report.read_text(encoding="utf-8"))
    of_ended = traces.of_ended_runs(tmp_path_factory.getbasetemp())
    assert {Path(path) for path in left["mounts"]} <= {trace.path for trace in of_ended}
    assert not [trace for trace in of_ended if f"-{os.getpid()}-" in str(trace)]
    places = {*left["mounts"], *left["paths"], *left["hierarchies"]}
    removal.end_children(())
    removal.remove(
        trace for trace in of_ended if str(trace.path) in places or f"-{process.pid}-" in str(trace)
    )
    check_nothing_left(report)


def test_only_a_run_that_is_alone_removes_them(tmp_path, monkeypatch):
    """A name's process may have ended though its run goes on."""
    monkeypatch.setattr(neighbours, "_RUN", tmp_path)
    assert neighbours.is_alone_at_start()
    script = f"""
from pathlib import Path
from tests.hygiene import neighbours
neighbours._RUN = Path({str(tmp_path)!r})
print(neighbours.is_alone_at_start())
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_strangers_are_left_alone(tmp_path):
    """A directory and a cgroup with another run's process id stay where they are."""
    stranger = subprocess.Popen(["sleep", "600"])
    path = Path("/dev/shm") / f"wl-{stranger.pid}-stranger"  # noqa: S108
    path.mkdir()
    try:
        process, report = started_pytest(tmp_path, "fails")
        process.communicate(timeout=PATIENCE_S)
        check_nothing_left(report)
        assert path.exists()
        assert stranger.poll() is None
    finally:
        path.rmdir()
        stranger.kill()
        stranger.wait()
