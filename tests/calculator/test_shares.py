# SPDX-License-Identifier: Apache-2.0
"""Who is given dynamic energy: by socket, by the zone's feature, by GPU."""

import pytest

from services.calculator.rules import Rules

from .desk import Desk
from .paper import ROOT, Paper
from .world import S

A, B, C = "a" * 64, "b" * 64, "c" * 64
PROCESS = {A: (10, 100, 7), B: (11, 101, 7), C: (12, 102, 7)}
# Idle power known beforehand: these tests are of shares.
RULES = Rules(
    idle_power="learned", fixed_idle_uw={"package": 20_000_000, "dram": 4_000_000, "gpu": 15_000_000}
)


def paper(**options):
    machine = Paper(**options)
    for container, (cgroup_id, _pid, _start) in PROCESS.items():
        machine.born(cgroup_id, ROOT, container)
    return machine


def watch(machine, desk, work, seconds=20):
    for _second in range(seconds):
        machine.run(S, work)
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)


def truth_uj(machine, number, container):
    return machine.truth_nj[number, PROCESS[container][0]] / 1000


def test_each_socket_by_what_ran_on_it():
    """Two sockets with laws of their own: each container's share is true, where node-wide ones are not."""
    machine = paper(sockets=2, counts=False)
    machine.meter("package", "0", 20, per_cpu_s=10, socket=0)
    machine.meter("package", "1", 20, per_cpu_s=30, socket=1)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (1.0, 1, 1, 0), (PROCESS[B], 1): (1.0, 1, 1, 0)})
    assert desk.dynamic_uj("package", "0") == pytest.approx({A: 200_000_000, B: 0}, abs=25)
    assert desk.dynamic_uj("package", "1") == pytest.approx({A: 0, B: 600_000_000}, abs=25)


def test_a_source_without_all_sockets_goes_by_the_whole_machine():
    """A zone "0" that is alone of its source may be of the whole node: so everybody's use counts."""
    machine = paper(sockets=2, counts=False)
    machine.meter("package", "0", 20, per_cpu_s=10)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (1.0, 1, 1, 0), (PROCESS[B], 1): (1.0, 1, 1, 0)})
    assert desk.dynamic_uj("package") == pytest.approx({A: 200_000_000, B: 200_000_000}, abs=25)


def test_a_process_on_both_sockets_is_given_of_both():
    """What moves between sockets has a share of each."""
    machine = paper(sockets=2, counts=False)
    machine.meter("package", "0", 20, per_cpu_s=10, socket=0)
    machine.meter("package", "1", 20, per_cpu_s=30, socket=1)
    desk = Desk(RULES)
    watch(
        machine,
        desk,
        {
            (PROCESS[A], 0): (0.5, 1, 1, 0),
            (PROCESS[A], 1): (0.5, 1, 1, 0),
            (PROCESS[B], 1): (0.5, 1, 1, 0),
        },
    )
    assert desk.dynamic_uj("package", "0") == pytest.approx({A: 100_000_000, B: 0}, abs=25)
    assert desk.dynamic_uj("package", "1") == pytest.approx({A: 300_000_000, B: 300_000_000}, abs=25)
    processes = desk.tables()["processes"]
    assert processes.pid.tolist() == [100, 101]  # one row each, on whatever sockets


def test_cycles_and_cache_misses_where_they_are_counted():
    """Package energy goes by cycles and DRAM energy by cache misses, not by CPU time."""
    machine = paper()
    machine.meter("package", "0", 20, per_gcycles=5)
    machine.meter("dram", "0", 4, per_mmisses=3)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (0.5, 3, 1, 1), (PROCESS[B], 0): (0.5, 1, 1, 9)})
    for zone, number in (("package", 0), ("dram", 1)):
        for container in (A, B):
            expected = truth_uj(machine, number, container)
            assert desk.dynamic_uj(zone)[container] == pytest.approx(expected, rel=1e-4)
    assert desk.tables()["zones"].share_by == ["cycles", "cache_misses"]


def test_cpu_time_where_nothing_else_is_counted():
    """Without counters everything goes by CPU time, and says so."""
    machine = paper(counts=False)
    machine.meter("package", "0", 20, per_cpu_s=8)
    machine.meter("dram", "0", 4, per_cpu_s=1)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (0.6, 3, 1, 1), (PROCESS[B], 0): (0.2, 1, 1, 9)})
    for zone in ("package", "dram"):
        assert desk.dynamic_uj(zone)[A] == pytest.approx(3 * desk.dynamic_uj(zone)[B], rel=1e-5)
    assert desk.tables()["zones"].share_by == ["cpu_time", "cpu_time"]


def test_a_counter_that_counts_nothing_is_passed_over():
    """Columns that stay 0, as of a guest without a PMU, are no reason to attribute nothing."""
    machine = paper()
    machine.meter("package", "0", 20, per_cpu_s=8)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (0.5, 0, 0, 0)})
    assert desk.dynamic_uj("package")[A] == pytest.approx(20 * 4_000_000, abs=25)
    assert desk.tables()["zones"].share_by == ["cpu_time"]


def test_each_gpu_by_its_own_users():
    """A GPU's energy goes to the processes that kept it busy, whatever they did on the CPUs."""
    machine = paper(counts=False)
    machine.meter("gpu", "GPU-1", 15)
    machine.meter("gpu", "GPU-2", 15)
    desk = Desk(RULES)
    for _second in range(20):
        machine.run(S, {(PROCESS[A], 0): (0.9, 1, 1, 0), (PROCESS[B], 0): (0.1, 1, 1, 0)})
        machine.meters[0].energy_nj += 200 * 10**9  # 200 W of work, three parts B's
        machine.meters[1].energy_nj += 100 * 10**9
        for gpu, container, busy_s in (("GPU-1", A, 0.2), ("GPU-1", B, 0.6), ("GPU-2", C, 0.5)):
            key = (gpu, *PROCESS[container][1:])
            machine.gpu_ns[key] = machine.gpu_ns.get(key, 0) + round(busy_s * S)
        machine.use.setdefault((PROCESS[C], 0), machine.use[PROCESS[A], 0] * 0)
        # Use of the GPU waits for activity to tell of the processes.
        for frame in (machine.power(), machine.metadata(), machine.activity()):
            desk.take(frame)
    first, second = desk.dynamic_uj("gpu", "GPU-1"), desk.dynamic_uj("gpu", "GPU-2")
    assert first == pytest.approx({A: 20 * 50_000_000, B: 20 * 150_000_000, C: 0}, abs=25)
    assert second == {A: 0, B: 0, C: 20 * 100_000_000}
    assert desk.zone("gpu", "GPU-1").share_by == "gpu_time"


def test_a_gpu_that_nobody_used_leaves_its_energy_to_nobody():
    """CPU time says nothing of a GPU."""
    machine = paper(counts=False)
    machine.meter("gpu", "GPU-1", 25)
    desk = Desk(RULES)
    watch(machine, desk, {(PROCESS[A], 0): (0.9, 1, 1, 0)})
    assert desk.dynamic_uj("gpu", "GPU-1")[A] == 0
    assert desk.left_uj("gpu", "GPU-1") == {"no_activity": 20 * 10_000_000}


def test_a_frame_that_tells_nothing_of_a_gpu_is_no_zero():
    """Who used it meanwhile is in the next frame that tells, without what they had used before."""
    machine = paper(counts=False)
    machine.meter("gpu", "GPU-1", 15)
    desk = Desk(RULES)
    first, second = (("GPU-1", *PROCESS[container][1:]) for container in (A, B))
    for number in range(4):
        machine.run(S, {(PROCESS[A], 0): (0.1, 1, 1, 0), (PROCESS[B], 0): (0.1, 1, 1, 0)})
        machine.meters[0].energy_nj += 50 * 10**9
        machine.gpu_ns[first] = S // 2  # long ago
        machine.gpu_ns[second] = (number + 1) * S // 4
        told = machine.gpu_ns
        machine.gpu_ns = {} if number == 2 else told
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
        machine.gpu_ns = told
        if number == 0:
            before_uj = desk.dynamic_uj("gpu", "GPU-1")[A]
    assert desk.dynamic_uj("gpu", "GPU-1")[A] == before_uj


def test_gpu_use_of_a_process_that_has_gone_is_not_counted_again():
    """What it used moves to the row of the unlisted, and only what nobody saw is new there."""
    machine = paper(counts=False)
    machine.meter("gpu", "GPU-1", 15, per_cpu_s=0)
    desk = Desk(RULES)
    machine.run(S, {(PROCESS[A], 0): (0.5, 1, 1, 0)})
    for frame in (machine.metadata(), machine.activity(), machine.power()):
        desk.take(frame)
    key = ("GPU-1", *PROCESS[A][1:])
    for used_s, gone in ((0.4, False), (0.1, True), (0.0, True)):
        machine.run(S, {})
        machine.meters[0].energy_nj += 50 * 10**9
        if gone:
            unlisted = ("GPU-1", 0, 0)
            machine.gpu_ns[unlisted] = machine.gpu_ns.get(unlisted, 0) + machine.gpu_ns.pop(key, 0)
            machine.gpu_ns[unlisted] += round(used_s * S)
        else:
            machine.gpu_ns[key] = round(used_s * S)
        for frame in (machine.activity(), machine.power()):
            desk.take(frame)
    energies = desk.dynamic_uj("gpu", "GPU-1")
    assert (energies[A], energies["unknown_processes"]) == (50_000_000, 50_000_000)
    assert desk.left_uj("gpu", "GPU-1") == {"no_activity": 50_000_000}
