# SPDX-License-Identifier: Apache-2.0
"""Real processes, eBPF and cgroups under meters whose law is known: sockets, co-runners, idle power."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from wattline.cgroup2 import whole_mount
from wattline.selftest import cgroups, pipeline, placing
from wattline.selftest.placing import Load
from wattline.selftest.simulated_rapl import SimulatedRapl

from .halts import Stretch, halt, watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CPUS = sorted(os.sched_getaffinity(0))[:2]


@contextlib.contextmanager
def machine(directory, zones, settings, containers=3, **config):
    """Gives (pipeline, cgroups, processes) on a simulated meter; CPUs are kept from idling."""
    with contextlib.ExitStack() as stack:
        law = {"update_ms": 1, "busy": "awake", "zones": zones, **config}
        rapl = stack.enter_context(SimulatedRapl(directory / "sys", law))
        mount = whole_mount(Path("/proc"))
        found = stack.enter_context(cgroups.containers(mount, containers))
        background = stack.enter_context(cgroups.background(mount))
        processes = stack.enter_context(placing.running())
        running = stack.enter_context(pipeline.running(rapl.sysfs, settings))
        running.wait_until("ready", running.is_ready, 60)
        processes.start_fillers(background, CPUS)
        yield running, found, processes


def test_two_sockets_with_laws_of_their_own(tmp_path):
    """Each package's energy goes to what ran on that socket; shares over the whole node would be far off."""
    zones = {
        "package-0": {"idle_w": 20, "busy_w": 10},
        "package-1": {"idle_w": 30, "busy_w": 35},
        "package-0/dram": {"idle_w": 4, "busy_w": 1},
        "package-1/dram": {"idle_w": 4, "busy_w": 4},
    }
    idle = "package-0=20,package-1=30,dram=4"
    settings = f'[probe]\nprobe.counters = ""\n[calculator]\nidle-power = "{idle}"\n'
    with machine(tmp_path, zones, settings, sockets=2) as (running, found, processes):
        loads = [
            Load("60 % of socket 0", "spin", 0.6, CPUS[0], found[0]),
            Load("30 % of socket 1", "spin", 0.3, CPUS[1], found[1]),
            Load("fork storm on socket 1", "storm", 0.3, CPUS[1], found[2]),
        ]
        processes.start_loads(loads)
        watch(running, 3)
        begin = halt(running, loads)
        watch(running, 30)
        stretch = Stretch(begin, halt(running, loads))
    print(f"stolen {stretch.stolen_ns / 1e9:.2f} s")
    # What all on both CPUs used: they never idle, so that is the time itself.
    used_ns = sum(stretch.used_ns(load) for load in loads)
    for zone, watts in (("package", (10, 35, 35)), ("dram", (1, 4, 4))):
        for load, per_cpu_w in zip(loads, watts, strict=True):
            stretch.check(load, zone, per_cpu_w, 0.01)
            by_node_j = stretch.node_dynamic_j(zone) * stretch.used_ns(load) / (2 * _length_ns(stretch))
            true_j = stretch.used_ns(load) / 1e9 * per_cpu_w
            print(f"{'':26} {zone:8} shared over the whole node it would be {by_node_j / true_j - 1:+.0%}")
            assert abs(by_node_j / true_j - 1) > 0.2
    assert used_ns > 0


def _length_ns(stretch):
    begin, end = stretch._begin, stretch._end

    def mark(series):
        name = "wattline_zone_watermark_timestamp_seconds"
        return min(one.value for one in series if one.name == name)

    return int((mark(end.series) - mark(begin.series)) * 10**9)


def test_co_runners_change_nothing(tmp_path):
    """A container's watts are the same whether it runs beside others or not."""
    zones = {"package-0": {"idle_w": 20, "busy_w": 15}, "package-0/dram": {"idle_w": 4, "busy_w": 1.5}}
    settings = '[probe]\nprobe.counters = ""\n[calculator]\nidle-power = "package=20,dram=4"\n'
    with machine(tmp_path, zones, settings) as (running, found, processes):
        mine = Load("30 %, watched", "spin", 0.3, CPUS[0], found[0])
        others = [
            Load("40 % beside it", "spin", 0.4, CPUS[0], found[1]),
            Load("fork storm", "storm", 0.4, CPUS[1], found[2]),
        ]
        processes.start_loads([mine])
        watch(running, 3)
        errors = []
        for company in (False, True, False):
            if company:
                processes.start_loads(others)
            begin = halt(running, [mine])
            watch(running, 20)
            end = halt(running, [mine])
            errors.append(Stretch(begin, end).check(mine, "package", 15, 0.01))
            if company:
                for other in others:
                    other.cgroup.freeze(frozen=True)
    print(f"joules per CPU second, alone, in company, alone again: {errors}")
    assert max(errors) - min(errors) < 0.01


def test_idle_power_is_found_though_the_start_was_at_full_load(tmp_path):
    """Until load varies the books close and the doubt is told; a minute later idle power is within 2 %."""
    zones = {"package-0": {"idle_w": 20, "busy_w": 15, "noise_w": 2}, "package-0/dram": {"idle_w": 4}}
    with contextlib.ExitStack() as stack:
        law = {"update_ms": 1, "busy": "awake", "zones": zones}
        rapl = stack.enter_context(SimulatedRapl(tmp_path / "sys", law))
        mount = whole_mount(Path("/proc"))
        background = stack.enter_context(cgroups.background(mount))
        full = stack.enter_context(placing.running())
        full.start_fillers(background, CPUS)
        settings = '[probe]\nprobe.counters = ""\n'
        running = stack.enter_context(pipeline.running(rapl.sysfs, settings))
        running.wait_until("ready", running.is_ready, 60)
        watch(running, 30)
        watts, doubt, method = idle(running.scrape())
        print(f"at full load: idle {watts:.3f} W ± {doubt:.3f} W, {method}")
        assert method == "provisional"
        assert watts - doubt <= 20 <= watts + doubt
        full.kill()
        varying = stack.enter_context(placing.running())
        found = stack.enter_context(cgroups.containers(mount, 2))
        loads = [Load("one", "spin", 0.35, CPUS[0], found[0]), Load("two", "spin", 0.7, CPUS[1], found[1])]
        varying.start_loads(loads)
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < 60:
            for load in loads:
                load.cgroup.freeze(frozen=int(time.monotonic() - begun_s) // 5 % 2 == loads.index(load))
            watch(running, 2)
        watts, doubt, method = idle(running.scrape())
        print(f"a minute after load began to vary: idle {watts:.3f} W ± {doubt:.3f} W, {method}")
        assert method == "learned"
        assert watts == pytest.approx(20, rel=0.02)
        for load in loads:
            load.cgroup.freeze(frozen=False)


def idle(series):
    """(watts, doubt, how it came about) of the package."""

    def gauge(name):
        values = [float(one.value) for one in series if one.name == name and one.labels["zone"] == "package"]
        return values[0] if values else 0.0

    method = next(
        one.labels["idle_method"]
        for one in series
        if one.name == "wattline_zone_share_info" and one.labels["zone"] == "package"
    )
    return gauge("wattline_zone_idle_watts"), gauge("wattline_zone_idle_doubt_watts"), method
