# SPDX-License-Identifier: Apache-2.0
"""The power of a BMC under a running systemd, set up as docs/redfish.md says, with the BMC of the tests."""

import json
import sys

import pytest

from tests.pipeline.metrics import read as read_metrics

from .booted import scrape
from .seen import ACCOUNT, NAMES, UIDS, check_sight, check_user, check_writable
from .units import BMC, EACH, ROOT, STAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_UNIT = EACH[BMC]
_TARGET_AND_BMC = ("systemctl", "enable", "--now", "wattline.target", _UNIT.removesuffix(".service"))
_NAME = "bmc.example"
_PYTHON = "/usr/local/lib/wattline/bin/python"
_LOOKS_UP = "import socket; print(socket.getaddrinfo('bmc.example', 443)[0][4][0])"
_TRUSTS = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"


@pytest.fixture
def bmc(system):
    """What it says of itself: its address and its files, all of it in the system."""
    program = [sys.executable, "-m", "tests.power.redfish.bmc", "--directory", "/run/bmc"]
    with system.started("env", "-C", str(ROOT), *program) as process:
        yield json.loads(process.stdout.readline())


def set_up(system, bmc):
    """The steps of docs/redfish.md, with shorter times."""
    system.run("install", "-m", "600", bmc["credentials_file"], ACCOUNT)
    system.run("install", "-m", "644", bmc["ca_file"], "/etc/wattline/bmc.pem")
    own = [
        f"WATTLINE_REDFISH_URL={bmc['url']}",
        "WATTLINE_REDFISH_CA_FILE=/etc/wattline/bmc.pem",
        *("WATTLINE_REDFISH_PERIOD_S=1", "WATTLINE_INTERVAL_S=1"),
    ]
    system.run(
        "sed", "-i", "s/^#WATTLINE_POWER_STREAMS/WATTLINE_POWER_STREAMS/", "/etc/wattline/wattline.env"
    )
    system.run("tee", "-a", "/etc/wattline/power-bmc.env", input="\n".join(own))
    system.run("tee", "-a", "/etc/hosts", input=f"192.0.2.7 {_NAME}\n")


def joules(system) -> float:
    """The whole machine's energy by its BMC so far; 0 while there is none."""
    text = scrape(system)
    series = read_metrics(text.encode()) if text else []
    wanted = ("kepler_node_platform_joules_total", "redfish")
    return float(sum(one.value for one in series if (one.name, one.labels.get("source")) == wanted))


def test_a_bmc_is_measured_by_a_process_that_can_do_nothing_else(system, bmc):
    """Joules of the platform rise; user, capabilities, files and network are those of the unit."""
    set_up(system, bmc)
    system.run(*_TARGET_AND_BMC)
    before = system.wait_for(lambda: joules(system))
    system.wait_for(lambda: joules(system) > before + 200)  # it draws 200 W and more
    assert f'wattline_stage_up{{stage="{BMC}"}} 1.0' in scrape(system)
    assert "working" in system.run("/usr/local/bin/wattline", "health", "--run", "/run/wattline", BMC).stdout
    for unit in EACH.values():
        assert system.show(unit, "NRestarts") == "0"

    check_user(system, BMC)
    capabilities = {name: bits for name, bits in system.status(_UNIT).items() if name.startswith("Cap")}
    assert {int(bits, 16) for bits in capabilities.values()} == {0}
    looked_up_in = (*NAMES, "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf")
    trusted = ("/etc/wattline/bmc.pem", "/etc/ssl/openssl.cnf", "/etc/ssl/certs/", "/etc/ca-certificates/")
    check_sight(system, _UNIT, (*looked_up_in, *trusted))
    check_writable(system, BMC)
    check_look_ups(system)
    check_secrecy(system, bmc)

    said = system.make("uninstall")
    assert f"keeping {ACCOUNT}, which has a BMC's password" in said
    assert system.run("systemctl", "list-units", "--all", "--no-legend", "wattline*").stdout == ""
    left = set(system.run("ls", "/etc/wattline").stdout.split())
    assert left == {"bmc", "bmc.pem", "wattline.env", "power-bmc.env"}  # an administrator's, or edited


def check_look_ups(system):
    """Names are looked up and the machine's authorities are trusted, as outside."""
    user = [f"--setuid={UIDS[BMC]}", f"--setgid={UIDS['probe']}"]
    inside = [*system.into(_UNIT), *user, _PYTHON, "-I", "-c"]
    assert system.run(*inside, _LOOKS_UP).stdout == "192.0.2.7\n"
    assert system.run(*inside, _TRUSTS).stdout == system.run(_PYTHON, "-I", "-c", _TRUSTS).stdout


def check_secrecy(system, bmc):
    """The password is in the file that systemd hands over, and nowhere that another user could find it."""
    password = system.run("cat", bmc["credentials_file"]).stdout.splitlines()[1]
    handed = f"/run/credentials/{_UNIT}/bmc"
    assert password in system.run(*system.into(_UNIT), "cat", handed).stdout
    process = f"/proc/{system.show(_UNIT, 'MainPID')}"
    for name, control in (("cmdline", handed), ("environ", bmc["url"])):
        text = system.run("cat", f"{process}/{name}").stdout
        assert control in text
        assert password not in text
    assert _UNIT in system.log()
    assert password not in system.log()
    assert system.run("grep", "-r", "-l", "-a", password, "/run/wattline", check=False).stdout == ""
    for unit in STAGES.values():
        check_sight(system, unit, (*NAMES, "/etc/wattline/bmc.pem"))
        assert system.run(*system.into(unit), "cat", handed, check=False).stdout == ""
        assert "REDFISH" not in system.run("cat", f"/proc/{system.show(unit, 'MainPID')}/environ").stdout


def test_without_an_account_it_does_not_start_and_the_others_run(system, bmc):
    """It fails at once and for good, and its status names the file. Set up, it starts with the others."""
    result = system.run(*_TARGET_AND_BMC, check=False)
    assert "Assertion failed" in result.stderr
    status = system.run("systemctl", "status", "--no-pager", _UNIT, check=False).stdout
    assert f"AssertPathExists={ACCOUNT} was not met" in status
    assert system.show(_UNIT, "ActiveState") == "inactive"
    assert system.show("wattline.target", "ActiveState") == "active"
    wanted = [f'stage_up{{stage="{stage}"}} 1.0' for stage in STAGES]
    system.wait_for(lambda: (text := scrape(system)) and all(line in text for line in wanted))
    assert system.show(_UNIT, "ActiveState") == "inactive"
    assert system.show(_UNIT, "NRestarts") == "0"

    set_up(system, bmc)
    system.run("systemctl", "restart", "wattline.target")
    system.wait_for(lambda: joules(system))
    check_sight(system, STAGES["power"], ["/etc/wattline/bmc.pem"])
