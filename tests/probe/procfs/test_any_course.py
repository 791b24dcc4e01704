# SPDX-License-Identifier: Apache-2.0
"""Any course of events, with any lies of the kernel: time closes, nothing falls."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from .fake_machine import MS, US, FakeMachine, frame
from .invariants import assert_closed_and_nothing_fell

PATHS = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f"]


PIDS = [1, 2, 3]


cgroup_paths, pids = st.sampled_from(["", *PATHS]), st.sampled_from(PIDS)


WORLD_STEPS = [
    st.tuples(st.just("make"), st.sampled_from(PATHS)),
    st.tuples(st.just("remove"), st.sampled_from(PATHS)),
    st.tuples(st.just("use"), st.sampled_from(PATHS), st.integers(0, 400_000)),
    st.tuples(st.just("spawn"), pids, cgroup_paths, st.integers(0, 40)),
    st.tuples(st.just("work"), pids, st.integers(0, 40)),
    st.tuples(st.just("move"), pids, cgroup_paths),
    st.tuples(st.just("kill"), pids),
]


READER_STEPS = [
    st.tuples(st.just("sample"), st.integers(1, 2000)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("retire"), st.integers(0, 3000)),
]


HOSTILE_STEPS = [
    st.tuples(st.just("idle"), st.integers(0, 2), st.integers(-100, 300)),
    st.tuples(st.just("online"), st.sets(st.integers(0, 2), min_size=1)),
    st.tuples(st.just("misread"), st.sampled_from(PATHS), st.integers(-300_000, 300_000)),
]


class Course:
    """Does to a fake machine what a step says, if that is possible, and checks each sample."""

    def __init__(self, directory: Path) -> None:
        self.machine = FakeMachine(directory)
        self.machine.make("/a")
        self.machine.use("/a", 5_000_000)
        self.machine.spawn(1, "/a", ticks=500)
        self.backend = self.machine.start()
        self.last = frame(self.backend, self.backend.sample())
        self.online = None
        self.starts = 100

    def take(self, step) -> None:
        getattr(self, f"on_{step[0]}")(*step[1:])

    def on_make(self, path):
        parent = path.rpartition("/")[0]
        if path not in self.machine.usage_us and parent in {"", *self.machine.usage_us}:
            self.machine.make(path)

    def on_remove(self, path):
        machine = self.machine
        below = [other for other in machine.usage_us if other.startswith(f"{path}/")]
        members = [pid for pid, process in machine.processes.items() if process[4] == path]
        if path in machine.usage_us and not below and not members:
            machine.remove(path)

    def on_use(self, path, us):
        if path in self.machine.usage_us:
            self.machine.use(path, us)

    def on_misread(self, path, us):
        if path in self.machine.usage_us:
            self.machine.usage_us[path] = max(0, self.machine.usage_us[path] + us)
            self.machine._usage(path)

    def on_spawn(self, pid, cgroup, ticks):
        if cgroup in {"", *self.machine.usage_us}:
            self.starts += 1
            self.machine.spawn(pid, cgroup, start=self.starts, ticks=ticks)

    def on_work(self, pid, ticks):
        if pid in self.machine.processes:
            self.machine.work(pid, ticks)

    def on_move(self, pid, cgroup):
        if pid in self.machine.processes and cgroup in {"", *self.machine.usage_us}:
            self.machine.move(pid, cgroup)

    def on_kill(self, pid):
        if pid in self.machine.processes:
            self.machine.kill(pid)

    def on_idle(self, cpu, ticks):
        self.machine.idle_ticks[cpu] = max(0, self.machine.idle_ticks.get(cpu, 0) + ticks)

    def on_online(self, cpus):
        known = set(self.machine.idle_ticks) & cpus
        self.online = known or None

    def on_sample(self, ms):
        self.machine.pass_time(ms * MS, *[0] * len(self.machine.idle_ticks), online=self.online)
        sample = self.backend.sample()
        assert_closed_and_nothing_fell(self.last, sample)
        self.last = frame(self.backend, sample)

    def on_restart(self):
        self.backend.close(keep=True)
        self.backend = self.machine.start(self.last)
        assert self.backend.begun_because == ""

    def on_retire(self, ms):
        self.backend.retire(self.machine.now_ns - ms * MS)


@contextmanager
def course():
    directory = Path(tempfile.mkdtemp(prefix=f"wl-{os.getpid()}-", dir="/dev/shm"))
    running = Course(directory)
    try:
        yield running
    finally:
        running.machine.close()
        shutil.rmtree(directory)


@settings(max_examples=300)
@given(st.lists(st.one_of(WORLD_STEPS + READER_STEPS + HOSTILE_STEPS), min_size=5, max_size=50))
def test_time_closes_and_nothing_falls_whatever_happens(steps):
    """Births, ends, moves, removals, restarts, unplugged CPUs and accounts that contradict each other."""
    with course() as running:
        for step in steps:
            running.take(step)
        running.take(("sample", 1000))


@settings(max_examples=300)
@given(st.lists(st.one_of(WORLD_STEPS + READER_STEPS), min_size=5, max_size=50))
def test_no_time_of_a_cgroup_is_lost_or_counted_twice(steps):
    """The rows at and below each cgroup, the gone ones included, add up to what the kernel says of it."""
    with course() as running:
        for step in steps:
            # 20 seconds in which two CPUs were not idle hold more than all steps together can use.
            running.take(("sample", 20_000) if step[0] == "sample" else step)
        running.take(("sample", 20_000))
        machine, sample = running.machine, running.last
        for path, usage_us in machine.usage_us.items():
            base_us = 5_000_000 if machine.id(path) in running.backend._state.cgroup_id else 0
            assert at_and_below(sample, machine, path) == (usage_us - base_us) * US


def at_and_below(sample, machine, path) -> int:
    """CPU time of all rows in a living cgroup's subtree."""
    parents = dict(zip(sample.paths.cgroup_id, sample.paths.parent_id, strict=True))
    total, top = 0, machine.id(path)
    for cgroup_id, ns in zip(sample.cgroups.cgroup_id, sample.cgroups.cpu_ns, strict=True):
        above = cgroup_id
        while above not in (0, top):
            above = parents[above]
        total += ns if above == top else 0
    return total
