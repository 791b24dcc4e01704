# SPDX-License-Identifier: Apache-2.0
"""Pins removed and file systems unmounted under a running probe, in the real kernel."""

import subprocess
import sys
import time

import pytest

from services.probe.ebpf.attachment import Attachment
from tests.load import SPIN, in_cgroup
from tests.pipeline.pipeline import Pipeline
from tests.probe.rows import cgroup_value
from tests.probe.service import frame_after, start
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory


@pytest.fixture
def own_bpffs(tmp_path):
    """A BPF file system of our own."""
    place = tmp_path / "bpf"
    place.mkdir()
    subprocess.run(["mount", "-t", "bpf", "-o", "mode=0700", "bpf", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL)


def last_frame(run_directory):
    return read_last(ServiceDirectory(run_directory, "probe"))


def remove_all(program):
    for pin in program.iterdir():
        pin.unlink()
    program.rmdir()


def remove_one_link(program):
    (program / "link_on_sched_switch").unlink()


def rename(program):
    program.rename(program.with_name("elsewhere"))


@pytest.mark.parametrize("remove", [remove_all, remove_one_link, rename])
def test_a_probe_without_its_pins_ends(run_directory, pin_path, cgroup, remove):
    """It publishes nothing counted since, reports the source as down, and ends with the reason.

    The next probe loads the program anew, with a new epoch.
    """
    probe = start(run_directory, pin_path)
    before = frame_after(run_directory, time.monotonic_ns() + 300_000_000)
    (program,) = pin_path.iterdir()
    remove(program)
    with in_cgroup(cgroup, [sys.executable, "-c", SPIN, "0.3"], stdin=subprocess.PIPE):
        output, _errors = probe.communicate(timeout=10)
    assert probe.returncode == 1
    assert "ERROR probe fatal" in output
    assert f"the eBPF program is no longer attached: {'' if remove is remove_one_link else program}" in output
    assert not pin_path.exists() or [path.name for path in pin_path.iterdir()] == ["elsewhere"]
    down = last_frame(run_directory)
    (ebpf,) = [state for state in down.sources if state.name == "ebpf"]
    assert not ebpf.up
    assert "no longer attached" in ebpf.reason
    assert down.epoch == before.epoch
    assert not cgroup_value(down, cgroup)
    probe = start(run_directory, pin_path)
    try:
        after = frame_after(run_directory, down.mono_ns + 1)
    finally:
        probe.terminate()
        output, _errors = probe.communicate(timeout=20)
    assert after.epoch > before.epoch
    assert [state.up for state in after.sources if state.name == "ebpf"] == [True]
    assert " loaded " in output
    assert not (pin_path / program.name).exists()


def test_an_unmounted_file_system_ends_the_probe(run_directory, own_bpffs):
    """The pins are out of reach, so the next probe could not go on from them."""
    probe = start(run_directory, own_bpffs / "pins")
    frame_after(run_directory, time.monotonic_ns())
    subprocess.run(["umount", "-l", own_bpffs], check=True)
    output, _errors = probe.communicate(timeout=10)
    assert probe.returncode == 1
    assert "is gone; expected its pins to stay" in output
    assert not [state for state in last_frame(run_directory).sources if state.name == "ebpf" and state.up]


def test_other_pins_beside_them_are_no_damage(tmp_path):
    """Only pins that were there matter; one that was replaced by another of its name is damage."""
    (tmp_path / "a").touch()
    attachment = Attachment(tmp_path)
    (tmp_path / "b").touch()
    assert attachment.damage() == ""
    (tmp_path / "b").replace(tmp_path / "a")
    assert attachment.damage() == f"a in {tmp_path} removed or replaced"


def test_the_time_without_a_program_is_a_probe_gap(run_directory, pin_path):
    """Under `up`: source_up falls to 0, comes back with a new program, and the time between is no one's."""
    with Pipeline(run_directory, pin_path, interval_s="0.2") as running:
        running.wait_ready()

        def is_up():
            return next(
                one.value
                for one in running.scrape()
                if one.name == "wattline_source_up" and one.labels["source"] == "ebpf"
            )

        def reasons():
            return {
                one.labels["reason"]
                for one in running.scrape()
                if one.name == "wattline_unattributed_joules_total" and one.value
            }

        assert is_up()
        assert "probe_gap" not in reasons()
        (program,) = pin_path.iterdir()
        remove_all(program)
        running.wait_until(lambda: not is_up())
        running.wait_until(is_up)
        running.wait_until(lambda: "probe_gap" in reasons())
        assert running.said(r"probe ended with exit code 1; restarting")
        running.wait_ready()
