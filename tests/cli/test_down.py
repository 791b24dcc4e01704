# SPDX-License-Identifier: Apache-2.0
"""`wattline down`: which Wattline it ends, and what it says it did."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wattline.cli.down import unit_in
from wattline.cli.down_text import Outcome
from wattline.pipeline import SERVICES

from .instance import PIN_NAME
from .recordings import started
from .world import SHM, World

USER = 60999
RUN, OTHER = f"{SHM}/one", f"{SHM}/two"
DEFAULT = f"{SHM}/wattline"
PINS = "/sys/fs/bpf/elsewhere"


@pytest.fixture
def world():
    with World() as opened:
        yield opened


def test_the_one_that_runs_elsewhere_is_ended(world):
    """As under sudo, which drops WATTLINE_RUN: a whole Wattline, found with its pins and removed."""
    world.start("wattline.cli", "up", run=RUN, probe_pin_path=PINS, web_listen_address="127.0.0.1:0")
    world.wait_until(lambda: world.wattline("health", "exporter", run=RUN).returncode == 0)
    assert list(world.path(PINS).iterdir())
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert f"nothing runs in {DEFAULT}; using {RUN}, where Wattline runs" in result.stderr
    said = rf"stopped up \(pid \d+\) and 5 services; removed {RUN}; unloaded the eBPF program from {PINS}"
    assert re.search(said, result.stdout)
    assert not world.path(RUN).exists()
    assert not world.path(PINS).exists()


def test_pins_of_a_probe_that_was_killed_with_its_up_are_unloaded(world):
    """A probe that can't unload its program itself: `down` knows where it was pinned."""
    pid = world.instance(RUN, f"--pins={PINS}")
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert f"stopped up (pid {pid}) and 5 services" in result.stdout
    assert f"unloaded the eBPF program from {PINS}" in result.stdout
    assert not world.path(PINS).exists()


def test_the_default_comes_first(world):
    """What runs in the default directory is meant, whatever runs elsewhere."""
    world.instance(RUN)
    world.instance(DEFAULT)
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert f"removed {DEFAULT}" in result.stdout
    assert world.path(RUN).exists()


def test_of_several_none_is_ended(world):
    """Exit code 2, and the flags to choose with."""
    for run in (RUN, OTHER):
        world.instance(run)
    result = world.wattline("down")
    assert result.returncode == 2
    assert f"--run {RUN} or --run {OTHER}" in result.stderr
    assert world.path(f"{RUN}/probe").exists()
    assert world.path(f"{OTHER}/probe").exists()


def test_a_directory_that_was_named_is_taken_as_it_is(world):
    """Nothing runs there: it says so, and where Wattline does run, which goes on."""
    world.instance(RUN)
    for named in ({"run": OTHER}, {"run": DEFAULT}):
        result = world.wattline("down", **named)
        assert result.returncode == 0, result.stderr
        assert f"nothing was running in {named['run']}; nothing was left to remove" in result.stdout
        assert f"Wattline runs in {RUN}: add --run {RUN}" in result.stdout
        assert world.path(f"{RUN}/probe").exists()


def test_a_replay_and_a_selftest_are_left_alone(world):
    """They remove what they made at their end; a `down` for something else must not spoil them."""
    for run in (f"{SHM}/wattline-replay-a1", f"{SHM}/wl-selftest-7-b2"):
        world.instance(run, "--services=calculator,exporter", "--no-up")
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert "nothing was running" in result.stdout
    assert world.path(f"{SHM}/wattline-replay-a1/exporter/lock").exists()


def test_what_a_crash_left_is_named(world):
    """Directories and pins without a process: removed, and said."""
    for service in SERVICES[:2]:
        world.path(f"{DEFAULT}/{service}").mkdir(parents=True)
    world.path(f"/sys/fs/bpf/wattline/{PIN_NAME}").mkdir(parents=True)
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        f"nothing was running in {DEFAULT}; removed what was left: {DEFAULT}, "
        "the eBPF program in /sys/fs/bpf/wattline\n"
    )
    assert not world.path(DEFAULT).exists()
    assert not world.path("/sys/fs/bpf/wattline").exists()
    again = world.wattline("down")
    assert again.returncode == 0
    assert again.stdout.startswith(f"nothing was running in {DEFAULT}; nothing was left to remove")


def test_what_is_not_wattlines_stays_and_is_named(world):
    """Another file in the run directory."""
    world.path(f"{RUN}/probe").mkdir(parents=True)
    world.path(f"{RUN}/notes").touch()
    result = world.wattline("down", run=RUN)
    assert f"removed what was left: {RUN}/probe" in result.stdout
    assert f"left in {RUN} what is not Wattline's: notes" in result.stdout
    assert world.path(f"{RUN}/notes").exists()


def test_a_mistaken_directory_costs_nothing(world):
    """Directories that only share a service's name stay as they are, as those of the source code."""
    for path in ("probe/ebpf", "power/lock", "metadata"):
        world.path(f"{RUN}/{path}").mkdir(parents=True)
    world.path(f"{RUN}/metadata/notes").touch()
    world.path(f"{RUN}/exporter").mkdir()
    result = world.wattline("down", run=RUN)
    assert result.returncode == 0, result.stderr
    assert f"removed what was left: {RUN}/exporter;" in result.stdout
    assert f"left in {RUN} what is not Wattline's: metadata, power, probe" in result.stdout
    assert world.path(f"{RUN}/probe/ebpf").exists()
    assert world.path(f"{RUN}/metadata/notes").exists()


def test_ctrl_c_is_one_line(run_directory, pin_path):
    """While it waits for a process that does not end."""
    command = [sys.executable, "-m", "tests.cli.instance", str(run_directory)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline().startswith("holds ")
        holder.send_signal(signal.SIGSTOP)
        with started("down", run=str(run_directory), probe_pin_path=str(pin_path)) as process:
            try:
                assert f"ending process {holder.pid}" in process.stdout.readline()
                process.send_signal(signal.SIGINT)
                _output, errors = process.communicate(timeout=20)
            finally:
                process.kill()
    finally:
        holder.kill()
        holder.communicate()
    assert process.returncode == 1
    assert errors == "wattline down: interrupted before all was stopped and removed; run it again\n"


def test_root_is_not_led_to_what_a_user_prepared(world):
    """A directory and a held lock of the right names, by an ordinary user: neither found nor removed."""
    world.path(f"{SHM}/bait").mkdir(mode=0o1777)
    world.path(f"{SHM}/bait").chmod(0o1777)
    world.instance(f"{SHM}/bait", "--services=probe", "--no-up", uid=USER)
    world.instance(f"{SHM}/users-own", uid=USER)
    result = world.wattline("down")
    assert result.returncode == 0, result.stderr
    assert "bait" not in result.stdout + result.stderr
    assert "users-own" not in result.stdout + result.stderr
    assert world.path(f"{SHM}/bait/probe/lock").exists()
    assert world.path(f"{SHM}/users-own/probe/lock").exists()


def test_in_a_directory_open_to_all_only_ones_own_is_removed(world):
    """Root's run directory is /tmp's like: a stranger's directory of a service's name stays, and lives."""
    world.path(RUN).mkdir()
    world.path(RUN).chmod(0o1777)
    stranger = world.instance(RUN, "--services=power", "--no-up", uid=USER)
    world.instance(RUN, "--services=probe", "--no-up")
    result = world.wattline("down", run=RUN)
    assert result.returncode == 0, result.stderr
    assert not world.path(f"{RUN}/probe").exists()
    assert world.path(f"{RUN}/power/lock").exists()
    assert world.path(f"/proc/{stranger}").exists()


def test_a_user_ends_their_own(world):
    """Found without root, and without complaint about root's places."""
    pid = world.instance(RUN, uid=USER)
    result = world.as_user(USER, "down")
    assert result.returncode == 0, result.stderr
    assert f"stopped up (pid {pid}) and 5 services; removed {RUN}" in result.stdout


def test_without_rights_one_line_has_the_cure(world):
    """Root's Wattline: exit code 77, nothing changed; found though its processes can't be looked at."""
    pid = world.instance(RUN)
    result = world.as_user(USER, "down")
    assert result.returncode == 77
    assert result.stderr.splitlines()[-1].endswith(f"run `sudo wattline down --run {RUN}`")
    assert world.path(f"/proc/{pid}").exists()
    assert world.path(f"{RUN}/probe/lock").exists()


def test_the_directory_of_another_user_is_that_users_to_clean(world):
    """Root neither: the line says as whom."""
    world.instance(RUN, uid=USER)
    result = world.wattline("down", run=RUN)
    assert result.returncode == 77
    assert f"{RUN} belongs to uid {USER}" in result.stderr
    assert f"run `sudo -u '#{USER}' wattline down --run {RUN}`" in result.stderr


def test_a_user_is_told_what_only_root_can_see(world):
    """Nothing of their own is left, but root's pins can't be looked at: 77 and the cure."""
    result = world.as_user(USER, "down")
    assert result.returncode == 77
    assert result.stderr.splitlines()[-1].endswith("run `sudo wattline down`")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--run", "--probe.pin-path"])
def test_a_file_is_no_directory(world, flag):
    """78 and what was expected, in one line."""
    world.path(f"{SHM}/file").touch()
    result = world.wattline("down", flag, f"{SHM}/file")
    assert result.returncode == 78
    assert f"{SHM}/file is not a directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_words_of_single_services():
    """Without `up`, each service with its process."""
    outcome = Outcome(Path(RUN))
    outcome.stopped("probe", 12)
    outcome.stopped("power", 13)
    outcome.removed += ["probe", "power"]
    assert outcome.text() == f"stopped probe (pid 12), power (pid 13); removed {RUN}/probe, {RUN}/power"


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/wattline.service\n", "wattline.service"),
        ("1:name=systemd:/system.slice/wattline-probe.service/x\n0::/\n", "wattline-probe.service"),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", ""),
        ("0::/system.slice/notwattline.service\n", ""),
        ("", ""),
    ],
)
def test_a_unit_is_known_by_its_cgroup(cgroups, unit):
    """What systemd runs is stopped by systemctl: `down` must not end it unless it is named."""
    assert unit_in(cgroups) == unit
