# SPDX-License-Identifier: Apache-2.0
"""`make install` under a running systemd, the units started as a user starts them, `make uninstall`."""

import sys

import pytest

from tests.pipeline.metrics import read as read_metrics
from wattline.confine.capabilities import BITS

from .booted import ADD_ADDRESS, booted, scrape
from .units import ROOT, STAGES, words

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_GROUP = 60600
_NODE_JOULES = "kepler_node_package_joules_total"


@pytest.fixture
def system(tmp_path, cgroup):
    with booted(tmp_path, cgroup) as running:
        make(running, "install")
        yield running


def make(system, target):
    """make's own words; pip needs the machine's network."""
    return system.run("make", "-C", str(ROOT), target, network=False).stdout


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
    second = wait_for_more(system, max(first, joules(system)))
    for number, unit in enumerate(STAGES.values()):
        status = system.status(unit)
        assert status["Uid"].split() == [str(_GROUP + number)] * 4
        assert status["Gid"].split() == [str(_GROUP)] * 4
        assert status["NoNewPrivs"].strip() == "1"
        assert system.show(unit, "NRestarts") == "0"
    system.wait_for(lambda: held(system, STAGES["probe"]) == {"CAP_BPF"})
    assert int(system.status(STAGES["power"])["CapEff"], 16) == 1 << 2  # CAP_DAC_READ_SEARCH
    for stage in ("metadata", "calculator", "exporter"):
        assert held(system, STAGES[stage]) == set()

    for stage, unit in STAGES.items():
        inside = check_sight(system, unit, looks_up_names=stage == "exporter")
        check_writable(system, stage, inside)

    system.run("systemctl", "start", "wattline")
    for unit in STAGES.values():
        assert system.show(unit, "ActiveState") == "inactive"
    wait_for_more(system, second)
    check_sight(system, "wattline.service", looks_up_names=True)
    assert system.run("ls", "/sys/fs/bpf/wattline-units").stdout == ""

    assert "removed" in make(system, "uninstall")
    assert system.run("systemctl", "list-units", "--all", "--no-legend", "wattline*").stdout == ""
    left = "find /usr/local /etc/systemd /etc/wattline /run/wattline /run/bpf /sys/fs/bpf -name '*wattline*'"
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
    assert "keeping" in make(system, "uninstall")  # the settings were edited
    assert system.run("ls", "/etc/wattline").stdout == "wattline.env\n"


def check_sight(system, unit, *, looks_up_names: bool) -> list[str]:
    """What a unit shows its processes of the file system; how to enter that."""
    inside = ["nsenter", f"--target={system.show(unit, 'MainPID')}", "--mount"]
    etc = set(system.run(*inside, "find", "/etc", "-type", "f").stdout.split())
    names = {"/etc/hosts", "/etc/nsswitch.conf"} if looks_up_names else set()
    assert etc <= {"/etc/ld.so.cache", "/etc/localtime", "/etc/wattline/wattline.env"} | names
    for place in ("/home", "/root", "/var/lib", "/run/systemd/private", "/run/systemd/journal", str(ROOT)):
        assert system.run(*inside, "ls", place, check=False).stdout == ""
    return inside


def check_writable(system, stage, inside):
    """Where a stage's user may write: as its unit says, its own /tmp, and the others' sockets to connect."""
    user = [f"--setuid={_GROUP + list(STAGES).index(stage)}", f"--setgid={_GROUP}"]
    find = "find / -path /proc -prune -o -path /dev/* -prune -o -writable ! -type l -print"
    writable = system.run(*inside, *user, *find.split(), check=False).stdout.split()
    binds = words(STAGES[stage], "Service", "BindPaths")
    own = {"/tmp", "/var/tmp"} | {name.rpartition(":")[2] for name in binds}  # noqa: S108
    sockets = {f"/run/wattline/{other}/stream.sock" for other in STAGES}
    outside = {path for path in writable if not any(path.startswith(f"{place}/") for place in own)}
    assert outside - sockets == own


def held(system, unit) -> set[str]:
    bits = int(system.status(unit)["CapEff"], 16)
    return {name for name, bit in BITS.items() if bits >> bit & 1} | (
        {"other"} if bits & ~sum(1 << bit for bit in BITS.values()) else set()
    )
