# SPDX-License-Identifier: Apache-2.0
"""All kinds of meters at once on the real pipeline, while they fail and both power services are killed."""

import random
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from services.power.source import rows_of
from tests.load import SPIN, in_cgroup
from tests.machine.every_meter import EveryMeter, ipmi_bmc
from tests.machine.every_meter_tree import DRAM, HALF_NS, PACKAGE, PLATFORM
from tests.power.redfish.authority import Authority
from tests.power.redfish.bmc import Bmc
from tests.power.redfish.law import Law
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .books import check_books
from .services import Service, frame_after, scrape, services

INTERVAL_S = 0.5
BMC_PERIOD_S = 1.0
SOURCES = "rapl-sysfs,rapl-perf,rapl-msr,hwmon,cray-pm,ipmi-dcmi,acpi,battery"
LAWS = {
    **{("package", str(socket)): law for socket, law in enumerate(PACKAGE)},
    **{("dram", str(socket)): law for socket, law in enumerate(DRAM)},
    "platform": PLATFORM,
}
# What a source's own counter can't show: one unit of it, in µJ.
UNIT_UJ = {"rapl-sysfs": 0, "hwmon": 0, "rapl-msr": 62, "cray-pm": 1_000_000}
FILES = {
    ("package", "0", "rapl-sysfs"): "/class/powercap/intel-rapl:0/energy_uj",
    ("package", "1", "rapl-sysfs"): "/class/powercap/intel-rapl:1/energy_uj",
    ("dram", "0", "rapl-sysfs"): "/class/powercap/intel-rapl:0/intel-rapl:0:0/energy_uj",
    ("dram", "1", "rapl-sysfs"): "/class/powercap/intel-rapl:1/intel-rapl:1:0/energy_uj",
    ("package", "0", "hwmon"): "/class/hwmon/hwmon0/energy1_input",
    ("package", "1", "hwmon"): "/class/hwmon/hwmon0/energy2_input",
    ("package", "0", "rapl-msr"): "/dev/cpu/0/msr:package",
    ("package", "1", "rapl-msr"): "/dev/cpu/1/msr:package",
    ("dram", "0", "rapl-msr"): "/dev/cpu/0/msr:dram",
    ("dram", "1", "rapl-msr"): "/dev/cpu/1/msr:dram",
    ("package", "node", "cray-pm"): "/cray/pm_counters/cpu_energy",
    ("dram", "node", "cray-pm"): "/cray/pm_counters/memory_energy",
    ("platform", "node", "cray-pm"): "/cray/pm_counters/energy",
}
# At each change of owner the new series begins on a straight line between two readings. The law bends away
# from it by at most its slope × the square of their distance (0.5 to 1 s) ÷ 4: below four joules.
BEND_UJ = 4_000_000
TURN_UJ = 4_000_000  # likewise


@dataclass
class FrozenLaw(Law):
    """The law until a time, and no power afterwards."""

    frozen_ns: int = 0

    def power_uw(self, mono_ns):
        return 0 if self.frozen_ns else super().power_uw(mono_ns)

    def energy_uj(self, mono_ns):
        return super().energy_uj(min(mono_ns, self.frozen_ns or mono_ns))


def totals_uj(series):
    """Energy by (zone, index, source), both modes together."""
    found = defaultdict(int)
    for one in series:
        if one.name == "wattline_zone_joules_total":
            key = (one.labels["zone"], one.labels["index"], one.labels["source"])
            found[key] += int(one.value * 1_000_000)
    return dict(found)


@dataclass
class World:
    """The machine, its BMC, the five services and power-bmc; what was seen of them."""

    machine: EveryMeter
    bmc: Bmc
    law: FrozenLaw
    power: Service
    power_bmc: Service
    exporter: Service
    last: dict = field(default_factory=dict)
    scrapes: int = 0

    def look(self):
        """One scrape: the books close, and no series falls."""
        series = scrape(self.exporter)
        totals = totals_uj(series)
        if totals:
            check_books(series)
            self.scrapes += 1
        assert all(totals.get(key, 0) >= uj for key, uj in self.last.items()), (self.last, totals)
        self.last = totals
        return series

    def watch(self, seconds):
        """Look at every scrape for some time."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.look()
            time.sleep(0.1)

    def kill(self, service):
        service.kill()
        service.start()

    def freeze(self):
        self.law.frozen_ns = time.monotonic_ns()
        self.machine.freeze()


def trouble(world, seconds, rng):
    """Meters fail, hang and vanish, and both power services are killed, one thing after the other."""
    prefixes = {
        "/class/powercap/intel-rapl:0": "EIO",
        "/class/powercap/intel-rapl:1": "ENODATA",
        "/class/hwmon/hwmon1": "EIO",
        "/cray": "ENODEV",
        "/dev/cpu/1": "EIO",
    }
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        prefix = rng.choice(list(prefixes))
        fault = rng.choice(["hang", "500", "stale", "drip", ""])
        world.bmc.fault = fault
        world.machine.fail(prefix, prefixes[prefix])
        world.watch(rng.uniform(1, 5))
        world.kill(world.power if rng.random() < 0.5 else world.power_bmc)
        world.watch(rng.uniform(1, 3))
        world.machine.heal(prefix)
        world.bmc.fault = ""
        world.watch(rng.uniform(1, 5))


def check_sources(world, run):
    """Each source's own row is its law: counters to their unit, gauges within what they say of themselves."""
    log = world.machine.log()
    rows = {
        (row.zone.name, row.zone.index, row.zone.source): row
        for stream in ("power", "power-bmc")
        for row in rows_of(read_last(ServiceDirectory(run, stream)))
    }
    for key, path in FILES.items():
        last_uj, first_uj = log[path]["last_uj"], log[path]["first_uj"]
        off_uj = min(abs(last_uj - first - rows[key].energy_uj) for first in first_uj)
        assert off_uj <= UNIT_UJ[key[2]], (key, rows[key], last_uj, first_uj)
        assert rows[key].gaps == 0, key
    row = rows["platform", "battery", "battery"]
    firsts_uj = log["/class/power_supply/BAT0/power_now"]["first_uj"]
    off_uj = min(abs(PLATFORM.energy_uj(row.mono_ns) - first - row.energy_uj) for first in firsts_uj)
    ipmi = rows["platform", "ipmi0", "ipmi-dcmi"]
    true_uj = PLATFORM.energy_uj(ipmi.mono_ns) - PLATFORM.energy_uj(ipmi.epoch)
    assert abs(ipmi.energy_uj - true_uj) <= true_uj // 50, (ipmi, true_uj)  # it shows whole watts
    # Where the law turns between two readings, power was not monotonic.
    turns = (row.mono_ns - row.epoch) // HALF_NS + 1
    assert 0 < off_uj <= row.integration_uj + turns * TURN_UJ, (row, off_uj)
    assert {key[2] for key in rows} == {*SOURCES.split(","), "redfish"}


def check_slots(world, epoch_ns):
    """Over all series of a slot: its law from the first reading to the end, less what is stated."""
    by_slot = defaultdict(int)
    takeovers = defaultdict(int)
    series = world.look()
    for (zone, index, _source), uj in world.last.items():
        by_slot[zone if zone == "platform" else (zone, index)] += uj
    for one in series:
        if one.name == "wattline_zone_takeovers_total":
            zone, index = one.labels["zone"], one.labels["index"]
            takeovers[zone if zone == "platform" else (zone, index)] += int(one.value)
    for slot, law in LAWS.items():
        true_uj = law.energy_uj(world.law.frozen_ns) - law.energy_uj(epoch_ns)
        changes = takeovers[slot] + 1
        # The first reading comes within a moment of the start, and the last one before the end.
        edges_uj = (law.low_uw + law.swing_uw) * 1
        short_uj = true_uj - by_slot[slot]
        assert -BEND_UJ * changes <= short_uj <= edges_uj + BEND_UJ * changes, (slot, short_uj, changes)
    return sum(takeovers.values())


@pytest.fixture
def places(run_directory, tmp_path, pin_path, cgroup):
    return run_directory, tmp_path, pin_path, cgroup


def run_pipeline(places, seconds, seed):
    run_directory, tmp_path, pin_path, cgroup = places
    rng = random.Random(seed)
    law = FrozenLaw(PLATFORM.low_uw, PLATFORM.swing_uw, HALF_NS)
    interval = {"interval_s": INTERVAL_S, "power_streams": "power-bmc=platform"}
    account = tmp_path / "credentials"
    account.touch(mode=0o600)
    bmc = Bmc(Authority(tmp_path / "authority"), "sensors-energy", law)
    account.write_text(f"{bmc.user}\n{bmc.password}\n", encoding="utf-8")
    with EveryMeter(tmp_path / "machine") as machine, bmc, services() as start, ExitStack() as loads:
        loads.enter_context(in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]))
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, **interval)
        frame_after(run_directory, "probe", begun_ns)
        start("services.metadata", run_directory, **interval)
        start("services.calculator", run_directory, **interval)
        exporter = start("services.exporter", run_directory, web_listen_address="127.0.0.1:0", **interval)
        tree = {"path_sysfs": machine.sysfs, "path_dev": machine.sysfs / "dev", "power_sources": SOURCES}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(ipmi_bmc(tmp_path)))
            power = start("services.power", run_directory, ipmi_period_s=1, **tree, **interval)
        power_bmc = start(
            "services.power",
            run_directory,
            name="power-bmc",
            power_sources="redfish",
            redfish_url=bmc.url,
            redfish_credentials_file=account,
            redfish_ca_file=bmc.authority.ca_file,
            redfish_period_s=BMC_PERIOD_S,
            redfish_timeout_s=BMC_PERIOD_S,
            **interval,
        )
        epoch_ns = frame_after(run_directory, "power", begun_ns).epoch
        frame_after(run_directory, "power-bmc", begun_ns)
        world = World(machine, bmc, law, power, power_bmc, exporter)
        world.watch(3)
        trouble(world, seconds, rng)
        world.watch(8)  # all meters are back, and the best ones own their slots again
        world.freeze()
        world.watch(4)
        check_sources(world, run_directory)
        assert check_slots(world, epoch_ns) >= seconds // 18
        assert world.scrapes > seconds


@pytest.mark.e2e
def test_every_meter_at_once_while_they_fail(places):
    """Thirty seconds of trouble: books close in each scrape, and each slot has the energy of its law."""
    run_pipeline(places, 30, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_every_meter_at_once_for_three_minutes(places):
    """The same for longer, and in another order."""
    run_pipeline(places, 180, seed=2)
