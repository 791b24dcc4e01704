# SPDX-License-Identifier: Apache-2.0
"""A meter that is read once a minute and told of five seconds later, while processes come and go."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from wattline.cgroup2 import whole_mount
from wattline.selftest import cgroups, placing
from wattline.selftest.placing import Load
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .services import frame_after, services
from .slow_power import BUSY_W, IDLE_W

CPUS = sorted(os.sched_getaffinity(0))[:2]
PERIOD_S, LATE_S = 60, 5
WITHIN = 0.015  # under 1 % is usual; 1.009 % was seen on a slow machine, whose two accounts differ by more


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_joule_of_a_slow_meter_is_at_its_container(run_directory, tmp_path, pin_path):
    """Its energy goes to who ran in that minute, the many that are long dead included, within 1.5 %.

    A fast meter beside it is held up by nothing.
    """
    mount = whole_mount(Path("/proc"))
    node = {"node": run_directory.name, "interval_s": 0.5}
    with ExitStack() as stack:
        found = stack.enter_context(cgroups.containers(mount, 3))
        background = stack.enter_context(cgroups.background(mount))
        processes = stack.enter_context(placing.running())
        start = stack.enter_context(services())
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, probe_counters="", **node)
        frame_after(run_directory, "probe", begun_ns)
        start("services.metadata", run_directory, **node)
        settings = {"idle_power": f"platform={IDLE_W},package={IDLE_W}", **node}
        start("services.calculator", run_directory, **settings)
        processes.start_fillers(background, CPUS)
        loads = [
            Load("spin, 30 %", "spin", 0.3, CPUS[0], found[0]),
            Load("fork storm, 40 %", "storm", 0.4, CPUS[0], found[1]),
            Load("fork storm, 60 %", "storm", 0.6, CPUS[1], found[2]),
        ]
        processes.start_loads(loads)
        readings = tmp_path / "readings"
        command = ["tests.pipeline.slow_power", str(run_directory), str(readings)]
        command += ["--period", str(PERIOD_S), "--late", str(LATE_S)]
        start([*command, *(str(load.cgroup.path) for load in loads)], run_directory)
        shown, behind_s = [], []
        while len(shown) < 2:
            time.sleep(0.25)
            energy = read_last(ServiceDirectory(run_directory, "calculator"))
            if energy is None or "platform" not in energy.zones.zone:
                continue
            fast, slow = (energy.zones.zone.index(zone) for zone in ("package", "platform"))
            behind_s.append((energy.mono_ns - energy.zones.watermark_mono_ns[fast]) / 1e9)
            measured_uj = energy.zones.measured_uj[slow]
            if measured_uj > (shown[-1][0] if shown else 0):
                names = energy.containers.container_id
                dynamic_uj = energy.containers.dynamic_uj[slow]
                shown.append((measured_uj, dict(zip(names, dynamic_uj, strict=True))))
        lines = [json.loads(line) for line in readings.read_text(encoding="ascii").splitlines()]
    # Between the readings, not between their news five seconds later: theft comes in bursts.
    stolen_ns = lines[1]["steal_ns"] - lines[0]["steal_ns"]
    took_ms = ", ".join(f"{line['took_ns'] / 1e6:.1f}" for line in lines)
    print(f"stolen {stolen_ns / 1e9:.2f} s; the fast meter was behind by at most {max(behind_s):.2f} s")
    print(f"the kernel's accounts were read within {took_ms} ms")
    for load in loads:
        name = load.cgroup.name
        used_ns = lines[1]["cpu_ns"][name] - lines[0]["cpu_ns"][name]
        true_j = used_ns / 1e9 * BUSY_W
        found_j = (shown[1][1][name] - shown[0][1][name]) / 1e6
        print(f"{load.who:18} true {true_j:9.3f} J, ours {found_j:9.3f} J, error {found_j / true_j - 1:+.3%}")
        slack_j = (stolen_ns + 20_000_000) / 1e9 * BUSY_W if stolen_ns else 0
        assert true_j * (1 - WITHIN) <= found_j <= true_j * (1 + WITHIN) + slack_j
    # Held up by a busy machine, for there are two CPUs of load for two CPUs, but not by the slow meter.
    assert max(behind_s) < PERIOD_S / 3
