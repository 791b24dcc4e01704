# SPDX-License-Identifier: Apache-2.0
"""A running `wattline up` whose run directory is deleted, replaced or opened to others."""

import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline.pipeline import SERVICES
from wattline.wire.rundir import lock_holder


def pid_or_none(pipeline, service):
    try:
        return pipeline.pid(service)
    except (FileNotFoundError, ValueError):
        return None


@pytest.fixture
def pipeline(run_directory, pin_path):
    with Pipeline(run_directory, pin_path, interval_s="0.2", web_listen_address="127.0.0.1:0") as running:
        running.wait_ready()
        yield running


def all_replaced(pipeline, before):
    now = {service: pid_or_none(pipeline, service) for service in SERVICES}
    return all(pid is not None and pid != before[service] for service, pid in now.items())


def test_a_deleted_run_directory_is_made_anew(pipeline):
    """All five start again in a new one, the log says that totals begin anew, and `down` finds them."""
    before = pipeline.pids()
    shutil.rmtree(pipeline.run)
    pipeline.wait_until(lambda: all_replaced(pipeline, before))
    (line,) = pipeline.said(r"up +\| .* was removed or replaced")
    assert f"{pipeline.run} was removed" in line
    assert "all five services again; totals begin anew" in line
    assert lock_holder(pipeline.run / "lock") == pipeline.process.pid
    pipeline.wait_until(lambda: len(pipeline.said(r"exporter .* listening address=")) == 2)
    pipeline.wait_ready()
    result = pipeline.wattline("down")
    assert result.returncode == 0, result.stderr
    assert pipeline.process.wait(10) == 0
    assert not pipeline.run.exists()


def test_a_service_that_restarts_first_makes_no_run_directory(run_directory):
    """A child of `up` finds the run directory missing: it ends, and leaves the making to `up`."""
    run = run_directory / "run"
    result = subprocess.run(
        [sys.executable, "-m", "services.metadata", "--run", str(run), "--die-with-parent"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert f"WATTLINE_RUN {run} is missing" in result.stdout
    assert not run.exists()


def test_a_run_directory_replaced_by_another_is_taken(pipeline):
    """An empty directory in its place is as good as none: the five move into it, under a new lock."""
    before = pipeline.pids()
    shutil.rmtree(pipeline.run)
    pipeline.run.mkdir()
    pipeline.wait_until(lambda: all_replaced(pipeline, before))
    assert lock_holder(pipeline.run / "lock") == pipeline.process.pid


def test_one_deleted_directory_restarts_one_service(pipeline):
    """The others go on, and with the ledger in place so do the totals."""
    before = pipeline.pids()
    shutil.rmtree(pipeline.run / "metadata")
    pipeline.wait_until(lambda: pid_or_none(pipeline, "metadata") not in (None, before["metadata"]))
    (line,) = pipeline.said(r"was removed or replaced")
    assert line.endswith("starting metadata again; totals go on")
    assert {service: pipeline.pid(service) for service in SERVICES if service != "metadata"} == {
        service: pid for service, pid in before.items() if service != "metadata"
    }
    assert stat.S_IMODE((pipeline.run / "metadata").stat().st_mode) == 0o2750


def test_a_deleted_ledger_directory_begins_totals_anew(pipeline):
    """The calculator's directory held the ledger: the log says what is lost."""
    before = pipeline.pid("calculator")
    shutil.rmtree(pipeline.run / "calculator")
    pipeline.wait_until(lambda: pid_or_none(pipeline, "calculator") not in (None, before))
    assert pipeline.said(r"starting calculator again; totals begin anew")
    pipeline.wait_ready()


def test_a_link_in_place_of_a_directory_is_named_until_it_goes(pipeline, tmp_path):
    """Root follows no link: the log names it once, the service waits, and comes back when it is removed."""
    path = pipeline.run / "metadata"
    before = pipeline.pid("metadata")
    shutil.rmtree(path)
    path.symlink_to(tmp_path)
    named = r"up +\| .*can't be made anew: .*metadata.*expected a directory"
    pipeline.wait_until(lambda: pipeline.said(named))
    assert list(tmp_path.iterdir()) == []
    path.unlink()
    pipeline.wait_until(lambda: pid_or_none(pipeline, "metadata") not in (None, before))
    assert len(pipeline.said(r"up +\| .*can't be made anew")) == 1


@pytest.mark.parametrize("name", ["", "calculator"])
def test_rights_that_were_changed_are_put_back(pipeline, name):
    """A directory that others may write in gets its mode and owner back, and a service can restart there."""
    path = pipeline.run / name
    made = path.stat()
    os.chown(path, 60999, 60999)
    path.chmod(0o777)
    pipeline.wait_until(lambda: path.stat().st_mode == made.st_mode)
    assert (path.stat().st_uid, path.stat().st_gid) == (made.st_uid, made.st_gid)
    expected = rf"{path} had mode 777, owner 60999:60999, expected mode {stat.S_IMODE(made.st_mode):o}, "
    pipeline.wait_until(lambda: pipeline.said(expected))
    before = pipeline.pid("calculator")
    os.kill(before, signal.SIGKILL)
    pipeline.wait_until(lambda: pid_or_none(pipeline, "calculator") not in (None, before))
    assert not pipeline.said("was removed or replaced")


def test_a_deleted_lock_is_taken_again(pipeline):
    """Without its lock file a second `up` could start in the same directory."""
    (pipeline.run / "lock").unlink()
    pipeline.wait_until(lambda: lock_holder(pipeline.run / "lock") == pipeline.process.pid)
    assert pipeline.wattline("up").returncode == 1


def test_another_up_in_the_new_directory_ends_this_one(pipeline):
    """Whoever holds the lock of the new directory has it: the first `up` ends and names the other."""
    shutil.rmtree(pipeline.run)
    pipeline.run.mkdir()
    holder = subprocess.Popen(
        ["flock", str(pipeline.run / "lock"), "-c", "echo held; sleep 60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert pipeline.process.wait(20) == 1
        assert pipeline.said(rf"up +\| another `wattline up` .*runs in {pipeline.run}")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()
