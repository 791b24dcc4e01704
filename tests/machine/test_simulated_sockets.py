# SPDX-License-Identifier: Apache-2.0
"""The simulated machine's sockets, update period, noise and log, read through FUSE as services do."""

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from services.probe.ebpf import cpus
from tests.pipeline.services import frame_after, services
from wattline.selftest.busy import cpuacct_usage

from .simulated_rapl import SimulatedRapl

S = 1_000_000_000
MS = 1_000_000
ONLINE = sorted(os.sched_getaffinity(0))


def energy_file(rapl, socket: int = 0) -> Path:
    return rapl.sysfs / f"class/powercap/intel-rapl:{socket}/energy_uj"


def read_uj(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def spin_on(cpu: int, ns: int) -> None:
    """Use CPU time on one CPU; the kernel's account has all of it once we have left that."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    until_ns = time.process_time_ns() + ns
    while time.process_time_ns() < until_ns:
        pass
    os.sched_setaffinity(0, allowed - {cpu} or allowed)
    time.sleep(0.02)
    os.sched_setaffinity(0, allowed)


def test_the_probe_sees_the_meters_sockets(tmp_path):
    """What the eBPF backend reads below path.sysfs: this machine's CPUs, on the simulated one's sockets."""
    with SimulatedRapl(tmp_path / "sys", {"sockets": 2}) as rapl:
        assert cpus.tree(rapl.sysfs) == rapl.sysfs
        assert cpus.online(rapl.sysfs) == cpus.online(Path("/sys"))
        assert cpus.possible_count(rapl.sysfs) == cpus.possible_count(Path("/sys"))
        assert cpus.undisturbed(rapl.sysfs) == cpus.undisturbed(Path("/sys"))
        online = sorted(cpus.online(rapl.sysfs))
        sockets = cpus.sockets(rapl.sysfs, online)
        assert not cpus.frequencies_khz(rapl.sysfs, online)
        told = rapl.truth()["sockets"]
    assert sockets == {cpu: socket for socket, those in enumerate(told) for cpu in those if cpu in sockets}
    assert list(sockets.values()) == sorted(sockets.values())
    assert len(set(sockets.values())) == min(2, len(online))


def test_a_socket_pays_for_its_own_cpus_only(tmp_path):
    """With the CPUs given crosswise, 0.3 s on the first CPU costs the second package, and not the first."""
    possible = range(cpus.possible_count(Path("/sys")))
    crosswise = [[cpu for cpu in possible if cpu != ONLINE[0]], [ONLINE[0]]]
    config = {
        "sockets": 2,
        "cpus": crosswise,
        "zones": {f"package-{n}": {"idle_w": 0, "busy_w": 100} for n in (0, 1)},
    }
    with SimulatedRapl(tmp_path / "sys", config) as rapl:
        assert cpus.sockets(rapl.sysfs, ONLINE) == {cpu: int(cpu == ONLINE[0]) for cpu in ONLINE}
        before, before_uj = rapl.truth(), read_uj(energy_file(rapl, 1))
        spin_on(ONLINE[0], 300 * MS)
        after, after_uj = rapl.truth(), read_uj(energy_file(rapl, 1))
    assert after_uj - before_uj >= 29_500_000
    for socket in (0, 1):
        busy_ns = sum(after["busy_ns"][str(cpu)] - before["busy_ns"][str(cpu)] for cpu in crosswise[socket])
        zone_before, zone_after = (log["zones"][f"package-{socket}"] for log in (before, after))
        assert zone_after["busy_ns"] - zone_before["busy_ns"] == busy_ns
        assert abs(zone_after["true_uj"] - zone_before["true_uj"] - busy_ns // 10) <= 1


def test_busy_time_is_the_kernels_finest(tmp_path):
    """Where cgroup v1's cpuacct is mounted, 40 ms of CPU time are all there; the log names the account."""
    with SimulatedRapl(tmp_path / "sys") as rapl:
        before = rapl.truth()
        spin_on(ONLINE[-1], 40 * MS)
        busy_ns = rapl.truth()["busy_ns"][str(ONLINE[-1])] - before["busy_ns"][str(ONLINE[-1])]
    if cpuacct_usage(Path("/proc")):
        assert before["busy_source"].endswith("cpuacct.usage_percpu")
        assert busy_ns >= 39 * MS
    else:
        assert before["busy_source"] == "/proc/stat"
        assert busy_ns >= 20 * MS


def test_awake_time_is_wall_time(tmp_path):
    """A spin of 0.2 s on a CPU of its own is 0.2 s and at most two steps of 10 ms less, whoever else ran."""
    with SimulatedRapl(tmp_path / "sys", {"busy": "awake"}) as rapl:
        before = rapl.truth()
        spin_on(ONLINE[-1], 200 * MS)
        after = rapl.truth()
    assert before["busy_source"] == "/proc/stat, idle"
    busy_ns = after["busy_ns"][str(ONLINE[-1])] - before["busy_ns"][str(ONLINE[-1])]
    assert 180 * MS <= busy_ns <= after["elapsed_ns"] - before["elapsed_ns"] + 20 * MS


def test_a_counter_changes_once_an_update_period(tmp_path):
    """At 20 ms and 10 W without load, each change is one period's 200 mJ, or several."""
    zones = {"package-0": {"idle_w": 10}}
    with SimulatedRapl(tmp_path / "sys", {"update_ms": 20, "busy_cpus": 0, "zones": zones}) as rapl:
        path = energy_file(rapl)
        readings = []
        deadline_ns = time.monotonic_ns() + 300 * MS
        while time.monotonic_ns() < deadline_ns:
            readings.append(read_uj(path))
        steps = [after - before for before, after in pairwise(readings)]
        assert all(step % 200_000 == 0 for step in steps)
        assert 5 <= sum(step > 0 for step in steps) <= 16
        log = rapl.truth()
        assert log["zones"]["package-0"]["true_uj"] == log["elapsed_ns"] // 100
        assert log["zones"]["package-0"]["true_uj"] >= log["zones"]["package-0"]["last_uj"]


def test_noise_wavers_and_never_falls(tmp_path):
    """Power per update differs, within its bounds; two runs with the same seed are alike."""
    config = {
        "update_ms": 20,
        "busy_cpus": 0,
        "noise_w": 4,
        "seed": 7,
        "zones": {"package-0": {"idle_w": 10, "start_raw_uj": 0}, "package-0/dram": {"idle_w": 4}},
    }
    courses = []
    for number in range(2):
        with SimulatedRapl(tmp_path / f"sys{number}", config) as rapl:
            readings = []
            while rapl.truth()["elapsed_ns"] < 300 * MS:
                readings.append(read_uj(energy_file(rapl)) + rapl.log()["package-0"]["first_uj"])
        assert readings == sorted(readings)
        courses.append(set(readings))
    steps = sorted(courses[0])
    assert len(steps) > 5
    assert len({after - before for before, after in pairwise(steps)}) > 3
    assert len(courses[0] & courses[1]) > 3


def test_what_a_configuration_must_not_say_is_refused(tmp_path):
    """A setting that isn't there, and noise that could make a counter fall."""
    for config, complaint in (
        ({"socket": 2}, "socket"),
        ({"busy": "all"}, "awake"),
        ({"noise_w": 5}, "would fall"),
    ):
        with pytest.raises(RuntimeError, match=complaint), SimulatedRapl(tmp_path / "sys", config):
            pass


def test_the_running_probe_reports_the_meters_sockets(run_directory, pin_path, tmp_path):
    """The real service with path.sysfs at the simulated machine: its rows are by that machine's sockets."""
    with SimulatedRapl(tmp_path / "sys", {"sockets": 2}) as rapl, services() as start:
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, path_sysfs=rapl.sysfs, interval_s=0.2)
        frame = frame_after(run_directory, "probe", begun_ns)
        told = rapl.truth()["sockets"]
    assert frame.cpus.cpu
    assert dict(zip(frame.cpus.cpu, frame.cpus.socket, strict=True)) == {
        cpu: socket for socket, those in enumerate(told) for cpu in those if cpu in set(frame.cpus.cpu)
    }
    assert set(frame.cgroups.socket) == set(frame.cpus.socket)
