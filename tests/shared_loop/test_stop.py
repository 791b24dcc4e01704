# SPDX-License-Identifier: Apache-2.0
"""Signals to stop that find a service in the middle of a turn, and what it leaves then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wattline.wire.bus import read_last
from wattline.wire.rundir import lock_holder

from . import tiny_stage
from .test_service import Service, start, statuses, until

__all__ = ["start"]  # a fixture
_STOP_S = 5.0  # what docs/wire.md promises


@pytest.mark.parametrize(("fault", "said"), [("endless", True), ("endless_c", False)])
def test_a_turn_without_end_is_left(start, fault, said):
    """SIGTERM ends the service within 5 s, whatever it is doing; its last frame and lock are usable."""
    service = start("--tiny.fault", fault)
    service.logged(" stuck")
    code, took_s = service.stop()
    assert code == 1
    assert took_s < _STOP_S
    assert (" stop_overdue " in service.log) == said
    if said:
        assert " at=tiny_stage.py:" in service.logged(" stop_overdue ")
    last = read_last(service.directory)
    assert last is not None
    assert lock_holder(service.directory.lock) is None
    second = start()
    until(lambda: (frame := read_last(second.directory)).run != last.run and frame, "a frame of the next run")
    assert second.stop()[0] == 0


def test_a_stage_that_can_not_keep_its_state_stops_in_order(start):
    """Its directory was deleted, for example: one line, no traceback."""
    service = start("--tiny.fault", "close")
    service.logged(" previous")
    code, _took_s = service.stop()
    assert code == 0
    assert "No such file or directory" in service.logged(" ERROR power close_failed ")
    assert " stopped " in service.log
    assert "Traceback" not in service.log


def test_an_output_that_nobody_reads_holds_up_no_stop(run_directory):
    """A log line that finds its pipe full blocks the service; SIGTERM ends it all the same."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    tiny = Path(__file__).with_name("tiny_stage.py")
    process = subprocess.Popen(
        [sys.executable, tiny, "--run", str(run_directory)], stdout=writer, stderr=writer, cwd=tiny.parent
    )
    os.close(writer)
    try:
        until((run_directory / "power/pid").exists, "the service's start")
        process.terminate()
        process.wait(_STOP_S + 5)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
    assert process.returncode == 1


@pytest.fixture
def full_run(tmp_path):
    """A run directory on a tmpfs without a free byte."""
    place = tmp_path / "run"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", place], check=True)
    (place / "filler").write_bytes(bytes(64 * 1024))
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_service_without_a_directory_names_the_full_file_system(tmp_path):
    """Not even a directory can be made: it ends, and says where there is no room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1,mode=0755", "tmpfs", tmp_path], check=True)
    try:
        tiny = [sys.executable, tiny_stage.__file__, "--run", str(tmp_path)]
        result = subprocess.run(tiny, capture_output=True, text=True, timeout=30)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
    assert result.returncode == 1
    assert (
        f'fatal cause="No space left on device: the tmpfs at {tmp_path} is full: no inode of 1 inodes free'
        in result.stdout
    )


def test_a_service_works_on_a_full_file_system(full_run, tmp_path):
    """It names the file system, once for each file, and goes on sending."""
    service = Service(full_run, tmp_path / "log")
    try:
        service.logged(
            f'no_room cause="No space left on device: the tmpfs at {full_run} is full: 0.0 MiB of 0.1 MiB'
        )
        service.logged(f'last_not_kept cause="No space left on device: the tmpfs at {full_run} is full')
        with statuses(full_run) as wait_for:
            assert wait_for(lambda frame: frame.errors.get("last_not_kept", 0) > 2)
        assert service.stop()[0] == 0
    finally:
        service.close()
    assert service.log.count("last_not_kept") == 1
