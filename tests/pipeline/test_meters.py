# SPDX-License-Identifier: Apache-2.0
"""Meters that come, go and lie, on the real pipeline: joules against the law, to the microjoule."""

import sys
import time
from contextlib import ExitStack

import pytest

from tests.load import SPIN, in_cgroup
from tests.machine.simulated_rapl import SimulatedRapl

from .books import check_books
from .services import fetch, frame_after, scrape, services

INTERVAL_S = 0.5
# Zone 3 shows the counter of zone 0, as the dies of a Zen 1 socket do; zone 2 is switched on later.
MACHINE = {
    "sockets": 4,
    "mirrors": {"package-3": "package-0"},
    "hidden": ["package-2"],
    "zones": {f"package-{number}": {"idle_w": 20 + 7 * number} for number in range(4)},
}
# What happens at which second: a command of the simulated machine.
EVENTS = (
    (4, lambda rapl: rapl.wrong("package-0/dram", 1, -680_600_000)),
    (5, lambda rapl: rapl.heal("package-1")),
    (8, lambda rapl: rapl.show("package-2")),
    (12, lambda rapl: rapl.fail("package-0", "ENODEV")),
    (16, lambda rapl: rapl.heal("package-0")),
    (20, lambda rapl: rapl.hide("package-2")),
)
END_S = 25


def measured_uj(series):
    """Energy by (zone, index), both modes together."""
    found = {}
    for one in series:
        if one.name == "wattline_zone_joules_total":
            key = (one.labels["zone"], one.labels["index"])
            found[key] = found.get(key, 0) + int(one.value * 1_000_000)
    return found


def true_uj(rapl):
    """What each counter has shown from its first reading to its last; that of the mirror is zone 0's."""
    found = {}
    for key, log in rapl.log().items():
        package, _, subzone = key.partition("/")
        found[subzone or "package", package.removeprefix("package-")] = log["energy_uj"]
    return found


def with_the_mirror_in_zone_0(energy_uj):
    joined = dict(energy_uj)
    joined["package", "0"] += joined.pop(("package", "3"), 0)
    return joined


def absent(series):
    return {
        (one.labels["zone"], one.labels["index"]): one.labels["why"]
        for one in series
        if one.name == "wattline_zone_absent"
    }


def source_up(series):
    (up,) = (
        one.value
        for one in series
        if one.name == "wattline_source_up" and one.labels["source"] == "rapl-sysfs"
    )
    return int(up)


def settled(exporter, rapl):
    """What is measured and what is true in the first scrape in which they agree, or the last one tried."""
    deadline_s = time.monotonic() + 10
    while True:
        series, truth = scrape(exporter), true_uj(rapl)
        del truth["package", "3"]
        found = with_the_mirror_in_zone_0(measured_uj(series))
        if found == truth or time.monotonic() > deadline_s:
            return found, truth, series
        time.sleep(0.2)


@pytest.mark.e2e
def test_meters_that_come_go_and_lie_cost_no_microjoule(run_directory, tmp_path, pin_path, cgroup):
    """A socket is there from second 8 to 20, a zone heals, dies mirror, one reading is 680 J too low."""
    interval = {"interval_s": INTERVAL_S}
    seen = {}  # the last scrape before each event: absent zones, and whether the source is up
    with SimulatedRapl(tmp_path / "sys", MACHINE) as rapl, services() as start, ExitStack() as loads:
        rapl.fail("package-1", "EINVAL")
        loads.enter_context(in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]))
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, **interval)
        frame_after(run_directory, "probe", begun_ns)
        start("services.metadata", run_directory, **interval)
        start("services.calculator", run_directory, **interval)
        exporter = start("services.exporter", run_directory, web_listen_address="127.0.0.1:0", **interval)
        power = start("services.power", run_directory, path_sysfs=rapl.sysfs, **interval)
        frame_after(run_directory, "power", begun_ns)
        begun_s = time.monotonic()
        events = list(EVENTS)
        last = {}
        while (second := time.monotonic() - begun_s) < END_S:
            if events and second >= events[0][0]:
                events.pop(0)[1](rapl)
            series = scrape(exporter)
            energy_uj = measured_uj(series)
            if energy_uj:
                check_books(series)
                seen[len(EVENTS) - len(events)] = (absent(series), source_up(series))
                assert all(energy_uj[zone] >= uj for zone, uj in last.items())
                last = energy_uj
            time.sleep(0.1)
        page = fetch(exporter).decode()
        rapl.freeze()
        loads.close()
        found, truth, series = settled(exporter, rapl)
        log = power.log
    check_books(series)
    for zone in truth:
        print(f"{zone}: law {truth[zone] / 1e6:.6f} J, measured {found[zone] / 1e6:.6f} J")
    assert found == truth
    assert min(truth.values()) > 5_000_000
    assert sum(one.value for one in series if one.name == "wattline_zone_gaps_total") == 0
    assert seen[1] == ({("package", "1"): "unreadable", ("package", "3"): "mirror"}, 0)
    assert seen[3] == ({("package", "3"): "mirror"}, 1)
    assert seen[4] == ({("package", "0"): "unreadable"}, 0)
    assert seen[6] == ({("package", "0"): "mirror"}, 1)
    assert 'wattline_zone_absent{zone="package",index="0"' in page
    assert log.count("package 3 shows the counter of package 0, so its energy is counted once") == 1
