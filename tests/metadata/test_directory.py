# SPDX-License-Identifier: Apache-2.0
from services.metadata.directory import REMEMBERED_NS, SEARCH_AGAIN_NS, Directory
from tests.calculator.world import S, World

A = (2, 10, 100)
DOCKER = "/docker/" + "c" * 64


def test_every_cgroup_of_activity_is_answered():
    """A cgroup that a search doesn't find is in the answer too, with an empty path."""
    world, directory = World(), Directory()
    world.run(1, {A: 0.1, (3, 11, 100): 0.1})
    frame = world.activity()
    directory.see(frame)
    assert directory.unknown(frame) == {2, 3}
    directory.learn({2, 3}, {2: DOCKER}, frame.mono_ns)
    table = directory.cgroups()
    assert list(table.cgroup_id) == [2, 3]
    assert table.path == [DOCKER, ""]
    assert table.container_id == ["c" * 64, ""]
    assert table.runtime == ["docker", ""]


def test_a_known_cgroup_is_not_searched_for_again():
    """Only what is new, or was not found a while ago, costs a walk."""
    world, directory = World(), Directory()
    world.run(1, {A: 0.1, (3, 11, 100): 0.1})
    frame = world.activity()
    directory.learn({2, 3}, {2: DOCKER}, frame.mono_ns)
    assert directory.unknown(frame) == set()
    world.run(SEARCH_AGAIN_NS / S, {})
    assert directory.unknown(world.activity()) == {3}


def test_the_dead_are_remembered_for_their_last_energy():
    """Names outlive their owners by five minutes, then go."""
    world, directory = World(), Directory()
    world.run(1, {A: 0.1})
    directory.learn({2}, {2: DOCKER}, world.now_ns)
    directory.see(world.activity())
    world.cpu_ns.clear()
    world.run(REMEMBERED_NS / S - 1, {})
    directory.see(world.activity())
    assert len(directory.processes()) == len(directory.cgroups()) == 1
    world.run(2, {})
    directory.see(world.activity())
    assert len(directory.processes()) == len(directory.cgroups()) == 0


def test_a_reused_pid_is_another_process():
    """(pid, start) names a process; the pid alone doesn't."""
    world, directory = World(), Directory()
    world.run(1, {(2, 10, 100): 0.1, (2, 10, 200): 0.1})
    directory.see(world.activity())
    assert list(directory.processes().start_ticks) == [100, 200]
