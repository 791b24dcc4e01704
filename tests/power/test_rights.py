# SPDX-License-Identifier: Apache-2.0
"""The rights that the real service has, by its sources. Run as root."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.confine.processes import held

from .test_hanging_source import frame_when, state

_RIGHTS_METER = Path(__file__).with_name("rights_meter.py")


@contextmanager
def power(run_directory, tmp_path, *flags, source=()):
    settings = ["--run", str(run_directory), "--interval-s", "0.1", "--path.sysfs", str(tmp_path), *flags]
    command = [sys.executable, "-m", *(source or ["services.power"]), *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([], "`CAP_DAC_READ_SEARCH`"),
        (["--power.sources=rapl-sysfs"], "`CAP_DAC_READ_SEARCH`"),
        (["--power.sources=trained_power_model"], "none"),
    ],
)
def test_the_process_holds_what_its_sources_need(run_directory, tmp_path, flags, kept):
    """What the kernel says of all its threads, filter included."""
    with power(run_directory, tmp_path, *flags) as process:
        frame_when(run_directory, lambda frame: len(frame.sources) > 0)
        assert held(process.pid)[1:] == [kept, "empty", "yes", "filtered"]


@pytest.mark.parametrize(
    ("level", "kept", "outcomes"),
    [
        ("info", "`CAP_DAC_READ_SEARCH` `CAP_PERFMON`", "done done ENOTTY"),
        ("debug", "`CAP_DAC_READ_SEARCH`", "EPERM EPERM EPERM"),
    ],
)
def test_a_source_has_the_rights_that_it_asks_for(run_directory, tmp_path, level, kept, outcomes):
    """A family of sockets, a system call, an ioctl, a capability; one that doesn't ask is denied them."""
    source = ["tests.power.extra_source", str(_RIGHTS_METER), "tick"]
    flags = ["--power.sources", "+rights", "--log-level", level]
    with power(run_directory, tmp_path, *flags, source=source) as process:
        frame = frame_when(run_directory, lambda frame: state(frame, "rights") is not None)
        assert state(frame, "rights").reason == outcomes
        assert held(process.pid)[1] == kept
