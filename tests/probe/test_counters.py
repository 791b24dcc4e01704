# SPDX-License-Identifier: Apache-2.0
"""Perf counters and clocks in the rows; software events stand in for hardware ones, which guests lack."""

import subprocess
import sys
import time

import pytest

from services.probe.ebpf import perf_events
from services.probe.ebpf.layout import Features
from services.probe.ebpf.reader import EbpfReader
from tests.load import SPIN, in_cgroup
from tests.probe.conftest import PROCFS, SYSFS
from tests.probe.rows import cgroup_value, wait_for

MS = 1_000_000
CLOCK = Features(counters=("cpu_clock",))


def spin(cgroup, seconds):
    return in_cgroup(
        cgroup, [sys.executable, "-c", SPIN, str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.mark.parametrize("counters", [("cpu_clock",), ("cpu_clock", "task_clock", "cpu_clock", "task_clock")])
def test_a_counter_of_time_equals_cpu_time(load_reader, cgroup, counters):
    """A software clock instead of a hardware counter is within 0.5 % of the row's CPU time, in each place."""
    reader = load_reader(features=Features(counters=counters))
    with spin(cgroup, 1) as process:
        assert process.stdout.readline() == b"done\n"
        sample = reader.sample()
    ids = list(sample.cgroups.cgroup_id)
    row = ids.index(cgroup.stat().st_ino)
    cpu_ns = sample.cgroups.cpu_ns[row]
    assert sample.counters == list(counters)
    assert cpu_ns > 900 * MS
    for place in range(len(counters)):
        for column in ("counts", "counts_enabled_ns", "counts_running_ns"):
            assert abs(getattr(sample.cgroups, column)[place][row] - cpu_ns) < 0.005 * cpu_ns, (place, column)
    assert sum(sample.processes.counts[0]) <= sum(sample.cgroups.counts[0])


def test_without_counters_their_columns_are_absent(reader):
    """A machine that has no counter publishes no column for it, rather than zeros."""
    sample = reader.sample()
    assert sample.counters == []
    assert sample.cgroups.counts == sample.processes.counts == []


def test_a_counter_survives_its_loader_and_its_reader(load_reader, cgroup):
    """The loader is gone before the first sample; a second reader goes on from the same sums."""
    reader = load_reader(features=CLOCK)
    with spin(cgroup, 0.3) as process:
        assert process.stdout.readline() == b"done\n"
        first = reader.sample()
    again = EbpfReader(reader.program, SYSFS, PROCFS).sample()
    row = list(first.cgroups.cgroup_id).index(cgroup.stat().st_ino)
    row_again = list(again.cgroups.cgroup_id).index(cgroup.stat().st_ino)
    assert again.cgroups.counts[0][row_again] >= first.cgroups.counts[0][row] > 250 * MS


def test_no_hardware_counter_is_invented():
    """Only counters that the machine has are used, as perf has it too; software clocks are always there."""
    names = {
        "cycles": "cycles",
        "instructions": "instructions",
        "cache-misses": "cache_misses",
        "ref-cycles": "ref_cycles",
    }
    perf = subprocess.run(
        ["perf", "stat", "-a", "-C", "0", "-x,", "-e", ",".join(names), "true"],
        capture_output=True,
        text=True,
    )
    fields = [line.split(",") for line in perf.stderr.splitlines() if line.count(",") > 2]
    assert {line[2] for line in fields} == set(names)
    supported = {names[line[2]] for line in fields if line[0] != "<not supported>"}
    assert {name for name in perf_events.COUNTERS if not perf_events.counter_error(name, 0)} == {
        "cpu_clock",
        "task_clock",
        *supported,
    }


def fake_sysfs(path, khz):
    """Two CPUs, each on a socket of its own, at one clock."""
    cpu = path / "devices/system/cpu"
    for number in (0, 1):
        for file, text in (
            (cpu / f"cpu{number}/cpufreq/scaling_cur_freq", khz),
            (cpu / f"cpu{number}/topology/physical_package_id", number),
        ):
            file.parent.mkdir(parents=True)
            file.write_text(f"{text}\n", encoding="ascii")
    (cpu / "online").write_text("0-1\n", encoding="ascii")
    return path


def test_time_is_weighted_by_the_clock(load_reader, cgroup, tmp_path):
    """With cpufreq at 2.5 GHz each CPU nanosecond is 2.5 cycles; without cpufreq the column is absent."""
    reader = load_reader(features=Features(frequency=True), sysfs=fake_sysfs(tmp_path, 2_500_000))
    reader.sample()
    with spin(cgroup, 0.5) as process:
        assert process.stdout.readline() == b"done\n"
        sample = reader.sample()
    cycles, cpu_ns = (cgroup_value(sample, cgroup, name) for name in ("frequency_cycles", "cpu_ns"))
    assert abs(cycles - 2.5 * cpu_ns) < 0.001 * cycles
    assert list(sample.cpus.frequency_khz) == [2_500_000, 2_500_000]
    assert len(load_reader().sample().cgroups.frequency_cycles) == 0


CLOCK_EVENT = """
import struct
from services.probe.ebpf import bpf_syscall as bpf, layout
from services.probe.ebpf.compile import Compiled
from tests.probe.conftest import program
loaded = Compiled(program())
for khz, cpu in ((3_000_000, 1), (800_000, 0), (5_000_000, 7)):  # the last CPU is none of ours
    bpf.call(loaded.function("on_cpu_frequency"), khz, cpu)
for cpu in (0, 1):
    setting = bpf.lookup(loaded.table("cpu_settings"), struct.pack("<I", cpu), layout.CPU_SETTING.size)
    print(*layout.CPU_SETTING.unpack(setting))
"""


def test_a_change_of_clock_is_taken_from_the_kernel():
    """The hook of power:cpu_frequency sets the clock of the CPU it names, and of no other."""
    output = subprocess.run(
        [sys.executable, "-c", CLOCK_EVENT], check=True, capture_output=True, text=True
    ).stdout
    assert output == "0 800000\n0 3000000\n"


def test_rows_are_kept_apart_by_socket(load_reader, cgroup, tmp_path):
    """A process that runs on two sockets has a row on each, which together have all of its time."""
    reader = load_reader(features=Features(frequency=True), sysfs=fake_sysfs(tmp_path, 1_000_000))
    reader.sample()
    with spin(cgroup, 3600) as process:
        for number in (0, 1):
            subprocess.run(
                ["taskset", "-cp", str(number), str(process.pid)], check=True, stdout=subprocess.DEVNULL
            )
            time.sleep(0.3)

        def on_both():
            sample = reader.sample()
            rows = sample.processes
            by_socket = {
                socket: ns
                for pid, socket, ns in zip(rows.pid, rows.socket, rows.cpu_ns, strict=True)
                if pid == process.pid and ns > 200 * MS
            }
            return (sample, by_socket) if set(by_socket) == {0, 1} else None

        sample, by_socket = wait_for(on_both)
    assert set(sample.cgroups.socket) == {0, 1}
    # What spills between the readings of the two tables is in the second one only.
    assert abs(sum(by_socket.values()) - cgroup_value(sample, cgroup)) < 20 * MS
