# SPDX-License-Identifier: Apache-2.0
"""The unit files by systemd's own tools, without a running systemd."""

import os
import re
import subprocess

import pytest

from wattline.cli.supervise import HOPELESS
from wattline.cli.up import UpSettings
from wattline.pipeline import SERVICES
from wattline.wire.rundir import DIRECTORY_MODE

from .units import ALL_IN_ONE, ROOT, STAGES, SYSTEMD, read, words

TARGET = "wattline.target"
# Exposure by systemd 252, in tenths (0 is best, 100 worst): one above what was measured.
_EXPOSURE_MAX = {"calculator": 9, "metadata": 11, "power": 12, "probe": 16, "exporter": 17, ALL_IN_ONE: 34}


def test_systemd_has_no_complaint(tmp_path):
    """`systemd-analyze verify` finds nothing to say, given that the program is there."""
    program = tmp_path / "wattline"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    for path in SYSTEMD.iterdir():
        text = path.read_text(encoding="utf-8").replace("/usr/local/bin/wattline ", f"{program} ")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    units = [str(tmp_path / path.name) for path in SYSTEMD.iterdir()]
    result = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("unit", "limit"), _EXPOSURE_MAX.items(), ids=_EXPOSURE_MAX.keys())
def test_exposure_stays_low(unit, limit):
    """`systemd-analyze security` gives each unit a score no worse than the one measured."""
    path = SYSTEMD / STAGES.get(unit, unit)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={limit}", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_PAGER": ""},
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr


def test_all_in_one_and_the_stages_exclude_each_other():
    """Neither can start while the other runs, and what is stopped has ended before what is started begins."""
    assert words(ALL_IN_ONE, "Unit", "Conflicts") == {TARGET, *STAGES.values()}
    for name in (TARGET, *STAGES.values()):
        assert words(name, "Unit", "Conflicts") == {ALL_IN_ONE}
        assert ALL_IN_ONE in words(name, "Unit", "After")


def test_the_target_has_all_stages():
    """Enabling the target enables the five; stopping it stops them."""
    assert words(TARGET, "Install", "Also") == set(STAGES.values())
    for name in STAGES.values():
        assert words(name, "Install", "WantedBy") == {TARGET}
        assert words(name, "Unit", "PartOf") == {TARGET}


@pytest.mark.parametrize("name", [*STAGES.values(), ALL_IN_ONE])
def test_hopeless_exit_codes_are_not_restarted(name):
    """systemd restarts what `wattline up` restarts, and leaves what it leaves."""
    service = read(name)["Service"]
    assert service["Restart"] == ["on-failure"]
    assert {int(code) for code in words(name, "Service", "RestartPreventExitStatus")} == set(HOPELESS)


@pytest.mark.parametrize(("stage", "name"), STAGES.items(), ids=STAGES.keys())
def test_directories_are_as_the_wire_has_them(stage, name):
    """Each stage gets the directory that docs/wire.md gives it, and keeps what is in it."""
    service = read(name)["Service"]
    assert service["RuntimeDirectory"] == [f"wattline/{stage}"]
    assert int(service["RuntimeDirectoryMode"][0], 8) == DIRECTORY_MODE
    assert service["RuntimeDirectoryPreserve"] == ["yes"]
    assert service["Environment"][0].split()[0] == "WATTLINE_RUN=/run/wattline"
    assert service["ExecStart"] == [f"/usr/local/bin/wattline {stage}"]


def test_numbers_are_those_of_up(tmp_path):
    """systemd-sysusers makes the users with the numbers that `wattline up` uses, in one group."""
    (tmp_path / "etc").mkdir()
    conf = (ROOT / "packaging/sysusers.d/wattline.conf").read_text(encoding="utf-8")
    command = ["systemd-sysusers", f"--root={tmp_path}", "-"]
    subprocess.run(command, input=conf, text=True, check=True, capture_output=True)
    first_id = UpSettings().up_first_id
    accounts = (tmp_path / "etc/passwd").read_text(encoding="utf-8").splitlines()
    assert [re.match(r"([^:]*):x:(\d+):(\d+)", line).groups() for line in accounts] == [
        (f"wattline-{stage}", str(first_id + number), str(first_id)) for number, stage in enumerate(SERVICES)
    ]
    assert f"wattline:x:{first_id}:" in (tmp_path / "etc/group").read_text(encoding="utf-8")
