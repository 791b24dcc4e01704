# SPDX-License-Identifier: Apache-2.0
"""Under load for minutes, at ten steps a second and with stages killed all the time: the books close."""

import random
import sys
import time
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from types import SimpleNamespace

import pytest

from tests.load import SPIN, in_cgroup
from tests.machine.container import Container
from tests.machine.simulated_rapl import SimulatedRapl

from .books import left_over_ratio
from .ever_rising import Scrapes
from .services import frame_after, services

STAGES = ("probe", "metadata", "calculator", "power", "exporter")
STORM = "while :; do sh -c :; sleep 0.2; done"
# Two sockets, and a counter that wraps soon: not so often that a reader who is away for half a minute could
# miss a wrap, which would rightly be a gap.
METER = {"sockets": 2, "psys": True, "zones": {"package-1": {"start_raw_uj": 262_142_000_000}}}
ZONES = {
    "package-0": ("package", "0"),
    "package-1": ("package", "1"),
    "package-0/core": ("core", "0"),
    "package-1/core": ("core", "1"),
    "package-0/dram": ("dram", "0"),
    "package-1/dram": ("dram", "1"),
}


@pytest.fixture
def place(run_directory, tmp_path, pin_path, cgroup):
    """Where all of it happens."""
    return SimpleNamespace(run=run_directory, files=tmp_path, pins=pin_path, cgroup=cgroup)


@contextmanager
def pipeline(place, interval_s):
    """Gives (meter, services by name): all five, on a simulated meter."""
    with SimulatedRapl(place.files / "sys", METER) as rapl, services() as start:
        begun_ns = time.monotonic_ns()
        started = {}
        for stage in STAGES:
            started[stage] = start(
                f"services.{stage}",
                place.run,
                interval_s=interval_s,
                probe_pin_path=place.pins,
                path_sysfs=rapl.sysfs,
                web_listen_address="127.0.0.1:0",
                terminated_keep_s=5,
            )
            if stage == "probe":
                frame_after(place.run, stage, begun_ns)
        frame_after(place.run, "calculator", begun_ns)
        yield rapl, started


@contextmanager
def load(place):
    """A spin and a fork storm in a cgroup of the host, and one of each in a container."""
    with ExitStack() as loads:
        loads.enter_context(in_cgroup(place.cgroup, [sys.executable, "-c", SPIN, "3600"]))
        loads.enter_context(in_cgroup(place.cgroup, ["sh", "-c", STORM]))
        loads.enter_context(Container(place.files, STORM))
        yield


def node_uj(series, zone, index):
    return int(
        1_000_000
        * sum(
            one.value
            for one in series
            if one.name == f"kepler_node_{zone}_joules_total" and one.labels["package"] == index
        )
    )


def settled(scrapes, rapl):
    """The scrape in which all that the meter counted has arrived."""
    deadline = time.monotonic() + 40
    while True:
        series, truth = scrapes.next_if_up() or [], rapl.log()
        found = {name: node_uj(series, *zone) for name, zone in ZONES.items()}
        if all(found[name] == truth[name]["energy_uj"] for name in ZONES):
            return series, truth
        assert time.monotonic() < deadline, (found, truth)
        time.sleep(0.2)


def check_ten_times_a_second(seconds, place):
    with pipeline(place, 0.1) as (rapl, started):
        scrapes = Scrapes(started["exporter"])
        with load(place):
            begun_s = time.monotonic()
            for number in range(seconds * 10):
                time.sleep(max(0, begun_s + number / 10 - time.monotonic()))
                series = scrapes.next()
            rapl.freeze()
        series, truth = settled(scrapes, rapl)
    ratios = {zone: left_over_ratio(series, zone) for zone in ("package", "core", "dram")}
    wraps = sum(zone["wraps"] for zone in truth.values())
    print(f"{scrapes.count} scrapes, {scrapes.distinct} different, residual 0 µJ in each; {wraps} wraps;")
    print(f"left over besides idle energy: {ratios}")
    assert scrapes.count >= seconds * 9
    assert scrapes.distinct >= seconds * 0.7  # the exporter changes once a second
    assert max(ratios.values()) < 0.001


class Chaos:
    """Kills a stage at random every two seconds, and power once for longer."""

    def __init__(self, started, scrapes, power_away_s):
        self.chance = random.Random(1)
        self.started, self.scrapes, self.power_away_s = started, scrapes, power_away_s
        self.kills = dict.fromkeys(STAGES, 0)
        self.power_back_s = None  # when it is to come back; inf once it has

    def watch(self, for_s):
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            self.scrapes.next_if_up()
            time.sleep(0.3)

    def go_on_for(self, seconds):
        begun_s = time.monotonic()
        while (passed_s := time.monotonic() - begun_s) < seconds:
            if self.power_back_s is None and passed_s > seconds / 3:
                self.started["power"].kill()
                self.power_back_s = passed_s + self.power_away_s
            elif self.power_back_s is not None and passed_s > self.power_back_s:
                self.started["power"].start()
                self.power_back_s = float("inf")
            stage = self.chance.choice(STAGES)
            if stage != "power" or self.power_back_s in (None, float("inf")):
                self.started[stage].kill()
                self.started[stage].start()
                self.kills[stage] += 1
            self.watch(2)


def check_chaos(seconds, power_away_s, place):
    with pipeline(place, 0.5) as (rapl, started):
        scrapes = Scrapes(started["exporter"])
        chaos = Chaos(started, scrapes, power_away_s)
        with load(place):
            chaos.watch(3)
            chaos.go_on_for(seconds)
            rapl.freeze()
        series, _truth = settled(scrapes, rapl)
    unattributed = {
        tuple(one.labels[name] for name in ("zone", "mode", "reason")): one.value
        for one in series
        if one.name == "wattline_unattributed_joules_total" and one.value
    }
    print(
        f"killed {chaos.kills}, power for {power_away_s} s; {scrapes.count} scrapes; left over {unattributed}"
    )
    assert chaos.power_back_s == float("inf")
    assert scrapes.count > seconds / 2
    assert not [key for key in unattributed if key[2] in ("probe_gap", "power_gap")]
    assert Decimal(0) == sum(one.value for one in series if one.name == "wattline_zone_gaps_total")
    for zone in ("package", "core", "dram"):
        assert left_over_ratio(series, zone) < 0.001


@pytest.mark.e2e
def test_ten_times_a_second(place):
    """Stages at 10 Hz, scraped at 10 Hz for half a minute: node = Σ workloads + unattributed, each time."""
    check_ten_times_a_second(30, place)


@pytest.mark.e2e
def test_killed_every_two_seconds(place):
    """A stage killed every two seconds, power away for ten: all the meter's energy is in the books."""
    check_chaos(60, 10, place)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_times_a_second_for_five_minutes(place):
    """The same for five minutes."""
    check_ten_times_a_second(300, place)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_every_two_seconds_for_five_minutes(place):
    """The same for five minutes, power away for half a minute."""
    check_chaos(300, 30, place)
