# SPDX-License-Identifier: Apache-2.0
"""Real cgroups at the paths of many runtimes, a busy process in each, through the whole pipeline."""

import contextlib
import os
import secrets
import sys
from decimal import Decimal
from pathlib import Path

from tests.load import SPIN, in_cgroup
from tests.machine.simulated_rapl import SimulatedRapl
from wattline.cgroup2 import whole_mount
from wattline.selftest.cgroups import made

from .books import check_books
from .pipeline import Pipeline

CPU_S = "0.2"
OWN = f"{os.getpid()}{secrets.randbelow(10**6):06d}"  # in each name: there may be others of such names
POD, POD_2 = (f"{secrets.token_hex(4)}-1111-2222-3333-{secrets.token_hex(6)}" for _pod in range(2))
TASK = f"{secrets.token_hex(4)}-4444-5555-6666-{secrets.token_hex(6)}"
A, B, C = (secrets.token_hex(32) for _id in range(3))
# path, container id, runtime, name in the path
CONTAINERS = [
    (f"/ecs/{TASK}/{A}", A, "ecs", ""),
    (f"/wattline-test-{OWN}/{B}", B, "oci", ""),
    (f"/kubepods/besteffort/pod{POD}/kata_{C}", C, "kata", ""),
    (f"/lxc.payload.web{OWN}/system.slice/nginx.service", f"lxc-web{OWN}", "lxc", f"web{OWN}"),
    (f"/slurm/uid_0/job_{OWN}/step_0", f"slurm-{OWN}", "slurm", OWN),
    (f"/nomad.slice/{TASK}.redis.scope", f"{TASK}.redis", "nomad", "redis"),
    (f"/machine.slice/systemd-nspawn@web{OWN}.service/payload", f"nspawn-web{OWN}", "nspawn", f"web{OWN}"),
    (f"/wattline-test-{OWN}-batch/blue/job-7", "batch-7", "batch", "7"),  # by a pattern of the setting
]
MACHINE = (f"/qemu.slice/{OWN}.scope", f"qemu-{OWN}")
UNITS = [
    (f"/system.slice/wattline-test-{OWN[-6:]}.service", f"wattline-test-{OWN[-6:]}.service"),
    (f"/system.slice/run-u{OWN}-wattlinetest.service", "run-wattlinetest.service"),
]
STRANGE = f"/wattline-test-{OWN}-strange/x"
POD_ALONE = f"/kubepods/besteffort/pod{POD_2}/strange"
LEAST_MS = Decimal(170)


def value(series, name, **labels):
    """The sum of the series that have these labels."""
    return sum(
        one.value
        for one in series
        if one.name == name and all(one.labels.get(key) == wanted for key, wanted in labels.items())
    )


def test_what_runs_at_each_place_is_known(run_directory, pin_path, tmp_path):
    """Container, pod, machine or unit: CPU time and joules are its own, and the books close with units."""
    paths = (
        [row[0] for row in CONTAINERS] + [MACHINE[0], STRANGE, POD_ALONE] + [path for path, _unit in UNITS]
    )
    mount = whole_mount(Path("/proc"))
    with (
        SimulatedRapl(tmp_path / "sys") as rapl,
        Pipeline(
            run_directory,
            pin_path,
            interval_s="0.5",
            path_sysfs=str(rapl.sysfs),
            container_patterns=f"batch=/wattline-test-{OWN}-batch/*/job-{{number}}",
        ) as pipeline,
        contextlib.ExitStack() as stack,
    ):
        pipeline.wait_ready()
        unmatched = "wattline_unmatched_cgroups_cpu_seconds_total"
        before = value(pipeline.scrape(), unmatched)
        for path in paths:
            cgroup = stack.enter_context(made(mount / path[1:]))
            command = [sys.executable, "-S", "-c", SPIN, CPU_S]
            stack.enter_context(in_cgroup(cgroup.path, command, stdin=-1, stdout=-1))

        def all_have_their_time():
            series = pipeline.scrape()
            times_ms = [
                value(series, "kepler_container_bpf_cpu_time_ms_total", container_id=one[1])
                for one in CONTAINERS
            ]
            times_ms.append(value(series, "kepler_vm_bpf_cpu_time_ms_total", vm_id=MACHINE[1]))
            times_ms += [
                value(series, "wattline_unit_cpu_seconds_total", unit=one[1]) * 1000 for one in UNITS
            ]
            times_ms.append((value(series, unmatched) - before) * 1000)
            is_all = all(one >= LEAST_MS for one in times_ms)
            pod_uj = value(series, "wattline_pod_joules_total", pod_uid=POD_2, zone="package")
            return series if is_all and pod_uj > 0 else None

        series = pipeline.wait_until(all_have_their_time, 60)
        check_books(series)
        infos = {
            one.labels["container_id"]: one.labels for one in series if one.name == "wattline_container_info"
        }
        said = pipeline.said("cgroup_unmatched")
    for _path, container_id, runtime, name in CONTAINERS:
        assert (infos[container_id]["runtime"], infos[container_id].get("container_name", "")) == (
            runtime,
            name,
        )
        assert value(series, "kepler_container_package_joules_total", container_id=container_id) > 0
    assert infos[C]["pod_uid"] == POD
    assert value(series, "wattline_pod_joules_total", pod_uid=POD, zone="package") == value(
        series, "kepler_container_package_joules_total", container_id=C
    )
    assert value(series, "kepler_vm_package_joules_total", vm_id=MACHINE[1]) > 0
    for _path, unit in UNITS:
        assert value(series, "wattline_unit_joules_total", unit=unit, zone="package") > 0
    assert len([line for line in said if STRANGE in line]) == 1
    assert not [
        line for line in said if any(path in line for path in (*(one[0] for one in CONTAINERS), POD_ALONE))
    ]
