# SPDX-License-Identifier: Apache-2.0
"""A calculator that goes on from a ledger does what the one that was killed would have done."""

import random

import pytest

from services.calculator.rules import Rules

from .desk import Desk
from .paper import ROOT, Paper
from .world import S

NAMES = ["a" * 64, "b" * 64, "c" * 64]


def twins(seed, policy, seconds=60):
    """The same frames for two, of which one is killed after every frame."""
    chance = random.Random(seed)
    machine = Paper(sockets=2, counts=seed % 2 == 0)
    for number, name in enumerate(NAMES):
        machine.born(10 + number, ROOT, name, "pod-1" if number else "", "vm-1" if number == 2 else "")
        machine.requests_m[name] = 250 * number
        machine.called[name] = f"service-{number}"
    for socket in (0, 1):
        machine.meter("package", str(socket), 20, per_cpu_s=9, per_gcycles=2, socket=socket)
    machine.meter("gpu", "GPU-1", 15)
    machine.meter("platform", "0", 90, per_cpu_s=20, period_ns=7 * S)
    rules = Rules(idle_policy=policy, terminated_keep_ns=20 * S)
    untouched, killed = Desk(rules), Desk(rules)
    processes = [(10 + number % 3, 200 - number, 7) for number in range(6)]
    for second in range(seconds):
        work = {
            (process, chance.randrange(2)): (chance.random(), chance.uniform(1, 3), 1, 2)
            for process in processes
            if chance.random() < 0.8
        }
        machine.run(S, work)
        key = ("GPU-1", *processes[second % len(processes)][1:])
        machine.gpu_ns[key] = machine.gpu_ns.get(key, 0) + S // 3
        machine.meters[2].energy_nj += 30 * 10**9
        if second % 5 == 4:
            gone = processes.pop(0)
            machine.end(gone)
            processes.append((gone[0], 200 + second, 8 + second))
        if second == 30:
            machine.remove(10)
            processes = [process for process in processes if process[0] != 10] or [(11, 999, 3)]
        frames = [machine.metadata(), machine.activity(), machine.power()]
        if second % 3 == 2:
            frames.pop(1 + second % 2)
        for frame in frames:
            untouched.take(frame)
            killed.take(frame)
        killed.ledger = killed.commit()
        killed.kill(machine.metadata())
        yield untouched, killed


@pytest.mark.parametrize("policy", ["node", "even", "usage", "requests"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_after_every_second_it_is_the_same(seed, policy):
    """All totals, to the microjoule, and what waits to be attributed; only what idle power learns may lag."""
    for untouched, killed in twins(seed, policy):
        first, second = untouched.tables(), killed.tables()
        assert first["containers"].container_id == second["containers"].container_id
        for column in ("measured_uj", "watermark_mono_ns", "interpolation_uj", "join_skew_ns", "gaps"):
            assert getattr(first["zones"], column) == getattr(second["zones"], column), column
        totals = [
            sorted(zip(t["containers"].container_id, t["containers"].cpu_ns, strict=True))
            for t in (first, second)
        ]
        assert totals[0] == totals[1]


def test_with_idle_power_given_every_account_is_the_same():
    """Where nothing has to be learned, so is each process's energy in each zone."""
    fixed = {"package": 20_000_000, "gpu": 15_000_000, "platform": 90_000_000, "other": 1_000_000}
    for untouched, killed in twins(4, "usage"):
        for desk in (untouched, killed):
            desk.rules = Rules(idle_policy="usage", fixed_idle_uw=fixed, terminated_keep_ns=20 * S)
        first, second = (by_process(desk) for desk in (untouched, killed))
        assert first == second


def by_process(desk):
    tables = desk.tables()
    processes, containers = tables["processes"], tables["containers"]
    found = {}
    for zone in range(len(tables["zones"])):
        for row, key in enumerate(
            zip(processes.cgroup_id, processes.pid, processes.start_ticks, strict=True)
        ):
            found[zone, *key] = (processes.dynamic_uj[zone][row], processes.idle_uj[zone][row])
        for row, name in enumerate(containers.container_id):
            vm_id = containers.vm_id[row] if containers.vm_id else ""
            found[zone, name, vm_id] = (containers.dynamic_uj[zone][row], containers.idle_uj[zone][row])
    return found


def test_without_metadata_known_processes_stay_where_they_are():
    """Until metadata comes, a calculator that has just started knows owners from its ledger."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, NAMES[0])
    machine.meter("package", "0", 20, per_cpu_s=9)
    desk = Desk(Rules())
    for second in range(20):
        machine.run(S, {((10, 100, 7), 0): (0.5, 1, 1, 0)})
        frames = [machine.activity(), machine.power()]
        for frame in frames if second > 10 else [machine.metadata(), *frames]:
            desk.take(frame)
        if second == 10:
            desk.kill()
    assert desk.dynamic_uj("package").keys() == {NAMES[0]}


def test_a_ledger_of_many_windows_can_be_read_again():
    """However many wait for a meter that is silent, and however many they are of: columns may be long."""
    machine = Paper(counts=False)
    machine.meter("package", "0", 20)
    machine.meter("dram", "0", 2)
    processes = [(ROOT, 100 + number, 7) for number in range(9000)]
    desk = Desk(Rules())
    for second in range(130):
        machine.run(S, {(process, 0): (1e-4, 1, 1, 0) for process in processes[second % 2 :: 2]})
        machine.meters[1].is_present = second < 3
        desk.state.take_activity(machine.activity(), desk.names)
        desk.state.take_power(machine.power(), desk.rules)
        desk.state.attribute(desk.rules)
    desk.ledger = desk.commit()
    assert len(desk.ledger) < 20_000_000
    desk.kill()
    assert len(desk.state.timeline.windows) > 1


def test_a_meter_that_has_gone_is_waited_for_no_longer():
    """After minutes without a row a zone holds up no windows; comes it back, that time is nobody's."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, NAMES[0])
    machine.meter("package", "0", 20)
    machine.meter("dram", "0", 2, per_cpu_s=2)
    desk = Desk(Rules())
    for second in range(400):
        machine.meters[1].is_present = second < 5 or second > 390
        machine.run(S, {((10, 100, 7), 0): (0.5, 1, 1, 0)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
        if 360 < second < 390:
            assert len(desk.state.timeline.windows) == 0
    assert desk.zone("dram").measured_uj == machine.meters[1].energy_nj // 1000
    assert desk.left_uj("dram")["no_activity"] > 0


@pytest.mark.parametrize("tells_sockets", [True, False])
def test_as_many_sockets_as_a_hypervisor_likes(tells_sockets):
    """A guest may have a socket for each of its CPUs."""
    machine = Paper(sockets=64, tells_sockets=tells_sockets, cpus_per_socket=1)
    machine.born(10, ROOT, NAMES[0])
    machine.meter("package", "0", 20, per_cpu_s=9)
    machine.meter("platform", "0", 20, per_cpu_s=9, period_ns=30 * S)
    desk = Desk(Rules())
    for _second in range(5):
        machine.run(S, {((10, 100, 7), socket): (0.5, 1, 1, 1) for socket in range(64)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
        desk.kill(machine.metadata())
    assert desk.dynamic_uj("package")[NAMES[0]] > 0
