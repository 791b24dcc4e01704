# SPDX-License-Identifier: Apache-2.0
"""The unit files by systemd's own tools, without a running systemd."""

import os
import re
import subprocess
from socket import AF_UNIX

import pytest

from services.power.redfish import NEEDS
from services.power.settings import PowerSettings
from wattline.cli.supervise import HOPELESS
from wattline.cli.up import UpSettings
from wattline.pipeline import SERVICES
from wattline.power_streams import parse_power_streams
from wattline.settings import load
from wattline.wire.rundir import DIRECTORY_MODE

from .units import ALL_IN_ONE, BMC, EACH, ROOT, STAGES, SYSTEMD, read, words

TARGET = "wattline.target"
# Exposure by systemd 252, in tenths (0 is best, 100 worst): one above what was measured.
_EXPOSURE_MAX = {
    "calculator": 9,
    "metadata": 11,
    "power": 12,
    "probe": 16,
    "exporter": 17,
    BMC: 18,
    ALL_IN_ONE: 34,
}


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
    path = SYSTEMD / EACH.get(unit, unit)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={limit}", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_PAGER": ""},
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr


def test_all_in_one_and_the_stages_exclude_each_other():
    """Neither can start while the other runs, and what is stopped has ended before what is started begins."""
    assert words(ALL_IN_ONE, "Unit", "Conflicts") == {TARGET, *EACH.values()}
    for name in (TARGET, *EACH.values()):
        assert words(name, "Unit", "Conflicts") == {ALL_IN_ONE}
        assert ALL_IN_ONE in words(name, "Unit", "After")


def test_the_target_has_all_stages():
    """Enabling the target enables the five, and not power-bmc; stopping it stops all six."""
    assert words(TARGET, "Install", "Also") == set(STAGES.values())
    for name in EACH.values():
        assert words(name, "Install", "WantedBy") == {TARGET}
        assert words(name, "Unit", "PartOf") == {TARGET}


@pytest.mark.parametrize("name", [*EACH.values(), ALL_IN_ONE])
def test_hopeless_exit_codes_are_not_restarted(name):
    """systemd restarts what `wattline up` restarts, and leaves what it leaves."""
    service = read(name)["Service"]
    assert service["Restart"] == ["on-failure"]
    assert {int(code) for code in words(name, "Service", "RestartPreventExitStatus")} == set(HOPELESS)


@pytest.mark.parametrize(("stage", "name"), EACH.items(), ids=EACH.keys())
def test_directories_are_as_the_wire_has_them(stage, name):
    """Each stage gets the directory that docs/wire.md gives it, and keeps what is in it."""
    service = read(name)["Service"]
    assert service["RuntimeDirectory"] == [f"wattline/{stage}"]
    assert int(service["RuntimeDirectoryMode"][0], 8) == DIRECTORY_MODE
    assert service["RuntimeDirectoryPreserve"] == ["yes"]
    assert service["Environment"][0].split()[0] == "WATTLINE_RUN=/run/wattline"
    command = service["ExecStart"][0].split()
    service_and_name = ["power", "--name", BMC] if stage == BMC else [stage]
    assert command[: 1 + len(service_and_name)] == ["/usr/local/bin/wattline", *service_and_name]
    assert stage == BMC or len(command) == 2


def test_numbers_are_those_of_up(tmp_path):
    """systemd-sysusers makes the users with the numbers that `wattline up` uses, in one group."""
    (tmp_path / "etc").mkdir()
    conf = (ROOT / "packaging/sysusers.d/wattline.conf").read_text(encoding="utf-8")
    command = ["systemd-sysusers", f"--root={tmp_path}", "-"]
    subprocess.run(command, input=conf, text=True, check=True, capture_output=True)
    first_id = UpSettings().up_first_id
    accounts = (tmp_path / "etc/passwd").read_text(encoding="utf-8").splitlines()
    assert [re.match(r"([^:]*):x:(\d+):(\d+)", line).groups() for line in accounts] == [
        *(
            (f"wattline-{stage}", str(first_id + number), str(first_id))
            for number, stage in enumerate(SERVICES)
        ),
        (f"wattline-{BMC}", str(_bmc_stream().uid), str(first_id)),
    ]
    assert f"wattline:x:{first_id}:" in (tmp_path / "etc/group").read_text(encoding="utf-8")


def variables(name: str) -> dict[str, str]:
    """The settings of a file of packaging/, those that are comments included."""
    text = (ROOT / "packaging" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^#?(WATTLINE_\w+)=(.*)$", text, re.MULTILINE))


def _bmc_stream():
    """The stream that wattline.env has for power-bmc."""
    return parse_power_streams(variables("wattline.env")["WATTLINE_POWER_STREAMS"]).find(BMC)


def test_no_stream_is_listed_until_an_administrator_lists_it():
    """wattline.env has the line for power-bmc as a comment: without a BMC no stage waits for the stream."""
    assert _bmc_stream().zones == {"platform"}
    text = (ROOT / "packaging/wattline.env").read_text(encoding="utf-8")
    assert not re.search("^[^#\n]", text, re.MULTILINE)


def bmc_settings(**more: str):
    """power-bmc's settings as its unit has them, below those of the environment files."""
    service = read(EACH[BMC])["Service"]
    flags = service["ExecStart"][0].split()[2:]
    environment = dict(text.split("=", 1) for text in service["Environment"][0].split())
    settings, warnings = load(PowerSettings, "power", flags, environment | more)
    assert warnings == []
    return settings


def test_power_bmc_asks_the_bmc_and_nothing_else():
    """Whatever wattline.env says for the other power: name, source and credentials are the unit's own."""
    for more in ({}, {"WATTLINE_NAME": "power", "WATTLINE_POWER_SOURCES": "rapl-sysfs"}):
        settings = bmc_settings(**more)
        assert (settings.name, settings.power_sources) == (BMC, "redfish")
        assert settings.redfish_credentials_file == "${CREDENTIALS_DIRECTORY}/bmc"
        assert settings.interval_s == 15


def test_power_bmcs_own_file_comes_last():
    """Its settings are known ones, and win over those for all stages; no other unit reads them."""
    own = variables("power-bmc.env")
    common = {name: text for name, text in variables("wattline.env").items() if name != "WATTLINE_CONFIG"}
    settings = bmc_settings(**common | own)
    assert (settings.interval_s, common["WATTLINE_INTERVAL_S"]) == (15, "1")
    assert settings.redfish_url == own["WATTLINE_REDFISH_URL"]
    assert settings.redfish_ca_file == "/etc/wattline/bmc.pem"
    assert settings.redfish_period_s == PowerSettings().redfish_period_s
    files = {name: read(unit)["Service"]["EnvironmentFile"] for name, unit in EACH.items()}
    shared = "-/etc/wattline/wattline.env"
    assert files == {name: [shared] for name in STAGES} | {BMC: [shared, "-/etc/wattline/power-bmc.env"]}


def test_the_bmcs_account_is_systemds_to_hand_over():
    """Without the file the unit does not start; the file itself is in no stage's sight."""
    unit = read(EACH[BMC])
    (path,) = unit["Unit"]["AssertPathExists"]
    assert unit["Service"]["LoadCredential"] == [f"bmc:{path}"]
    for name in (*EACH.values(), ALL_IN_ONE):
        assert f"-{path}" in words(name, "Service", "InaccessiblePaths")


def test_power_bmc_has_the_sockets_of_its_source():
    """Those that docs/security.md gives the source, and the stages' own."""
    families = {family.name for family in (AF_UNIX, *NEEDS.families)}
    assert words(EACH[BMC], "Service", "RestrictAddressFamilies") == families
