# SPDX-License-Identifier: Apache-2.0
"""A real container's joules and CPU time."""

import sys
import time

from tests.load import SPIN, KernelAccount, in_cgroup, steal_ns
from tests.machine.container import Container
from tests.machine.simulated_rapl import IDLE_POWER, SimulatedRapl

from .books import check_books
from .pipeline import Pipeline


def value(series, name, **labels):
    return sum(
        one.value
        for one in series
        if one.name == name and all(one.labels.get(key) == wanted for key, wanted in labels.items())
    )


def settled(pipeline, container_id):
    """The first scrape after a CPU time that no longer changes: the container has stood still."""
    name = "kepler_container_bpf_cpu_time_ms_total"
    before = -1
    while (now := value(series := pipeline.scrape(), name, container_id=container_id)) != before:
        before = now
        time.sleep(1.5)  # the exporter changes once a second
    return series


def test_a_container_gets_its_cpu_time_and_its_energy(run_directory, pin_path, tmp_path, cgroup):
    """A CPU-bound job in a runc container, beside one on the host: the kernel's account, and its share.

    Both spin while energy flows; the container's part of the dynamic energy is its part of the CPU time.
    The meter's idle power is told: while it is being learned, whoever runs gets some of it.
    """
    # Some seconds of counting, then nothing, so that both accounts can be read at rest.
    script = "i=0; while [ $i -lt 6000000 ]; do i=$((i+1)); done; exec sleep 3600"
    with (
        SimulatedRapl(tmp_path / "sys") as rapl,
        Pipeline(
            run_directory, pin_path, interval_s="0.5", path_sysfs=str(rapl.sysfs), idle_power=IDLE_POWER
        ) as pipeline,
    ):
        pipeline.wait_ready()
        before, stolen_before_ns = pipeline.scrape(), steal_ns()
        with (
            Container(tmp_path / "containers", script) as container,
            in_cgroup(cgroup, [sys.executable, "-c", SPIN, "2"], stdin=-1, stdout=-1),
        ):
            series = settled(pipeline, container.container_id)
            mine = {"container_id": container.container_id}
            cpu_ms = value(series, "kepler_container_bpf_cpu_time_ms_total", **mine)
            kernel = KernelAccount(container.cgroup, stolen_before_ns)
            assert kernel.agrees(int(cpu_ms * 1_000_000), 0.005)
        check_books(series)
    assert cpu_ms > 1000

    def gained(name, **labels):
        return value(series, name, **labels) - value(before, name, **labels)

    all_cpu_ms = gained("kepler_container_bpf_cpu_time_ms_total")
    dynamic = gained("kepler_container_package_joules_total", mode="dynamic")
    own = value(series, "kepler_container_package_joules_total", mode="dynamic", **mine)
    print(f"container: {cpu_ms} of {all_cpu_ms} ms, {own} of {dynamic} J dynamic")
    assert abs(float(own / dynamic) - float(cpu_ms / all_cpu_ms)) < 0.05
    (info,) = [
        one.labels
        for one in series
        if one.name == "wattline_container_info" and one.labels["container_id"] == container.container_id
    ]
    assert info["runtime"] == "docker"
