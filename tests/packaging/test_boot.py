# SPDX-License-Identifier: Apache-2.0
"""`make install` under a running systemd, the units started as a user starts them, `make uninstall`."""

import sys

import pytest

from tests.pipeline.metrics import read as read_metrics

from .booted import ADD_ADDRESS, scrape
from .seen import NAMES, check_sight, check_user, check_writable, held
from .units import BMC, STAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_NODE_JOULES = "kepler_node_package_joules_total"


def joules(system) -> float:
    """All of the node's package energy so far; 0 while there is none."""
    text = scrape(system)
    series = read_metrics(text.encode()) if text else []
    return float(sum(one.value for one in series if one.name == _NODE_JOULES))


def wait_for_more(system, than: float = 0.0) -> float:
    return system.wait_for(lambda: max(0.0, joules(system) - than)) + than


def test_installed_started_switched_uninstalled(system):
    """Joules rise under either choice, go on over the change from one to the other, and nothing is left."""
    system.run("systemctl", "enable", "--now", "wattline")
    first = wait_for_more(system, wait_for_more(system))
    assert system.show("wattline.service", "NRestarts") == "0"

    system.run("systemctl", "disable", "wattline")
    system.run("systemctl", "enable", "--now", "wattline.target")
    assert system.show("wattline.service", "ActiveState") == "inactive"
    wanted = [
        'wattline_source_up{source="ebpf"} 1.0',
        *(f'stage_up{{stage="{stage}"}} 1.0' for stage in STAGES),
    ]
    system.wait_for(lambda: (text := scrape(system)) and all(line in text for line in wanted))
    assert BMC not in scrape(system)  # nothing waits for a stream that is not listed
    second = wait_for_more(system, max(first, joules(system)))
    for stage, unit in STAGES.items():
        check_user(system, stage)
        assert system.show(unit, "NRestarts") == "0"
    system.wait_for(lambda: held(system, STAGES["probe"]) == {"CAP_BPF"})
    assert int(system.status(STAGES["power"])["CapEff"], 16) == 1 << 2  # CAP_DAC_READ_SEARCH
    for stage in ("metadata", "calculator", "exporter"):
        assert held(system, STAGES[stage]) == set()

    for stage, unit in STAGES.items():
        check_sight(system, unit, NAMES if stage == "exporter" else ())
        check_writable(system, stage)

    system.run("systemctl", "start", "wattline")
    for unit in STAGES.values():
        assert system.show(unit, "ActiveState") == "inactive"
    wait_for_more(system, second)
    check_sight(system, "wattline.service", NAMES)
    assert system.run("ls", "/sys/fs/bpf/wattline-units").stdout == ""

    assert "removed" in system.make("uninstall")
    assert system.run("systemctl", "list-units", "--all", "--no-legend", "wattline*").stdout == ""
    places = "/usr/local /etc/systemd /etc/wattline /run/wattline /run/bpf /sys/fs/bpf"
    left = f"find {places} -name '*wattline*' -o -name 'power-bmc*'"
    assert system.run("sh", "-c", left, check=False).stdout == ""


def test_only_this_machine_can_scrape_until_others_are_named(system):
    """A listening address alone lets nobody in from elsewhere; IPAddressAllow= does."""
    system.run(sys.executable, "-c", ADD_ADDRESS)
    setting = "echo WATTLINE_WEB_LISTEN_ADDRESS=:28283 >>/etc/wattline/wattline.env"
    system.run("sh", "-c", setting)
    system.run("systemctl", "start", "wattline.target", "wattline-exporter")
    system.wait_for(lambda: scrape(system))
    assert scrape(system, "192.0.2.1:28283") is None
    drop_in = "/etc/systemd/system/wattline-exporter.service.d"
    text = "[Service]\\nIPAddressAllow=192.0.2.1\\n"
    system.run("sh", "-c", f"mkdir {drop_in} && printf '{text}' >{drop_in}/override.conf")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", "wattline-exporter")
    system.wait_for(lambda: scrape(system, "192.0.2.1:28283"))
    assert "keeping" in system.make("uninstall")  # the settings were edited
    assert system.run("ls", "/etc/wattline").stdout == "wattline.env\n"
