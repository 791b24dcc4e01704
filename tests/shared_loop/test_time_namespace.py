# SPDX-License-Identifier: Apache-2.0
"""Services in a time namespace whose clocks are not the kernel's."""

import os
import shutil
import subprocess
import sys

import pytest

from wattline.time_namespace import offsets_ns, refusal

from . import tiny_stage
from .test_service import start

__all__ = ["start"]  # a fixture
_UNSHARE = shutil.which("unshare")


def test_offsets_are_read_with_their_sign():
    """Seconds and nanoseconds are added; nanoseconds are never negative (time_namespaces(7))."""
    text = "monotonic      -2 500000000\nboottime            0         0\n"
    assert offsets_ns(text) == {"monotonic": -1_500_000_000, "boottime": 0}
    assert "monotonic -1.5 s" in refusal(offsets_ns(text))
    assert "boottime" not in refusal(offsets_ns(text))
    assert refusal({"monotonic": 0, "boottime": 0}) == ""


@pytest.mark.parametrize(
    ("clock", "said"), [("monotonic", "monotonic +1000 s"), ("boottime", "boottime +1000 s")]
)
def test_a_service_in_a_time_namespace_is_refused(start, run_directory, clock, said):
    """In a real one: exit code 78, what differs and by how much, and nothing is made."""
    command = [_UNSHARE, "--time", f"--{clock}", "1000", "--fork", sys.executable, tiny_stage.__file__]
    service = start(command=command)
    assert service.ended() == 78
    assert said in service.log
    assert "without unshare --time" in service.log
    assert list(run_directory.iterdir()) == []


def test_a_time_namespace_with_the_kernels_clocks_is_none(start):
    """A namespace without offsets changes nothing."""
    service = start(command=[_UNSHARE, "--time", sys.executable, tiny_stage.__file__])
    service.logged(" started ")


def test_frames_can_be_the_clock_in_a_time_namespace(start):
    """With --clock frames a service does not look at its own."""
    command = [_UNSHARE, "--time", "--monotonic", "1000", sys.executable, tiny_stage.__file__]
    service = start("--clock", "frames", command=command)
    service.logged(" started ")


@pytest.mark.parametrize("command", ["up", "tap", "record", "health", "selftest"])
@pytest.mark.parametrize("clock", ["monotonic", "boottime"])
def test_commands_that_go_by_the_clock_are_refused(tmp_path, command, clock):
    """They end with 78 and the reason, and make nothing; their help can be read all the same."""
    run = tmp_path / "run"
    arguments = {"record": [str(tmp_path / "recording")], "health": ["probe"]}.get(command, [])
    unshare = [_UNSHARE, "--time", f"--{clock}", "100000", "--fork", sys.executable, "-m", "wattline.cli"]

    def outcome(*flags: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*unshare, command, *arguments, *flags],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=30,
            env={**os.environ, "WATTLINE_RUN": str(run)},
        )

    refused = outcome()
    assert refused.returncode == 78, refused
    assert f"wattline {command}: this process is in a time namespace" in refused.stderr
    assert f"{clock} +100000 s" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    help_text = outcome("--help")
    assert help_text.returncode == 0
    assert "time namespace" not in help_text.stderr
