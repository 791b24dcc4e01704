# SPDX-License-Identifier: Apache-2.0
"""Rows of CPUs: idle time, plugging in and out."""

import pytest

from tests.probe.rows import cgroup_value, charged_ns, elapsed_ns

from .fake_machine import MS, TICK_NS, S
from .invariants import assert_closed_and_nothing_fell


def test_idle_time_is_that_of_proc_stat(machine):
    """Per CPU, waiting for disks included, since the epoch, with the time of the reading."""
    backend = machine.start()
    assert backend.epoch == machine.now_ns
    machine.pass_time(S, 700 * MS, 400 * MS)
    cpus = backend.sample().cpus
    assert list(cpus.idle_ns) == [700 * MS, 400 * MS]
    assert (set(cpus.start_mono_ns), set(cpus.stamp_mono_ns)) == ({backend.epoch}, {machine.now_ns})
    assert (set(cpus.offline_ns), set(cpus.lost_ns)) == ({0}, {0})


def test_idle_time_never_falls_and_never_exceeds_what_passed(machine):
    """/proc/stat may go back a little, or be ahead: the published figure waits, or comes later."""
    backend = machine.start()
    before, found = backend.sample(), []
    for idle_ns in (500 * MS, -20 * MS, 10 * MS, 30 * MS, 1020 * MS, 980 * MS):
        machine.pass_time(S, idle_ns, S)
        after = backend.sample()
        assert_closed_and_nothing_fell(before, after)
        found.append(after.cpus.idle_ns[0] // MS)
        before = after
    assert found == [500, 500, 500, 520, 1520, 2520]


def test_idle_time_that_begins_again_is_gone_on_from(machine):
    """A CPU's idle time begins at 0 when it is plugged in (before Linux 6.8): its differences count."""
    backend = machine.start()
    machine.pass_time(100 * S)
    before = backend.sample()
    machine.idle_ticks[0] = 7
    machine.pass_time(S, 0, S)
    backend.sample()
    machine.pass_time(S, 600 * MS, S)
    machine.pass_time(S, 600 * MS, S)
    after = backend.sample()
    assert after.cpus.idle_ns[0] - before.cpus.idle_ns[0] == 1100 * MS, "less the slack, in which it waits"
    assert_closed_and_nothing_fell(before, after)


def test_idle_time_that_cgroups_contradict_gives_way_and_is_not_claimed_later(machine):
    """Where the kernel samples idle time it sees too much of it: cgroups come first, no debt is gathered."""
    machine.make("/a")
    backend = machine.start()
    for _second in range(10):
        machine.use("/a", 900_000)
        machine.pass_time(S, S, S)  # it says so, and yet /a ran
        before = backend.sample()
    assert cgroup_value(before, machine.id("/a")) == 9 * S
    machine.pass_time(S, 0, S)
    machine.pass_time(S, 0, S)
    after = backend.sample()
    assert cgroup_value(after, machine.id("")) >= 1800 * MS
    assert_closed_and_nothing_fell(before, after)


def test_an_offline_cpu_keeps_its_row(machine):
    """Its row stands with the time of its last sight; back again, its absence is in offline_ns."""
    backend = machine.start()
    machine.pass_time(S)
    before = backend.sample()
    machine.pass_time(S, S, 0, online={0})
    away = backend.sample()
    assert list(away.cpus.stamp_mono_ns) == [machine.now_ns, before.mono_ns]
    again = machine.restart(backend, away)
    machine.pass_time(S, S, 3 * S)
    back = again.sample()
    machine.pass_time(S, S, 400 * MS)
    after = again.sample()
    assert list(away.cpus.offline_ns) == [0, 0]
    assert list(back.cpus.offline_ns) == list(after.cpus.offline_ns) == [0, 2 * S]
    assert list(after.cpus.idle_ns) == [4 * S, 1400 * MS]
    for sample in (before, away, back, after):
        assert charged_ns(sample) == elapsed_ns(sample)


def test_a_cpu_that_comes_later_begins_then_also_for_a_successor(machine):
    """A CPU plugged in for the first time starts its account, and a restarted reader knows where that was."""
    backend = machine.start()
    machine.pass_time(S)
    backend.sample()
    machine.idle_ticks[2] = 1234
    machine.pass_time(S, S, S, 0)
    came = backend.sample()
    start = machine.now_ns
    machine.pass_time(S, S, S, 300 * MS)
    again = machine.restart(backend, came)
    after = again.sample()
    assert (
        list(came.cpus.start_mono_ns)
        == list(after.cpus.start_mono_ns)
        == [backend.epoch, backend.epoch, start]
    )
    assert list(after.cpus.idle_ns) == [3 * S, 3 * S, 300 * MS]
    assert_closed_and_nothing_fell(came, after)


def test_no_cpu_at_all_is_an_error(machine):
    """An empty /proc/stat must not look as if every CPU had been unplugged."""
    backend = machine.start()
    (machine.procfs / "stat").write_text("")
    with pytest.raises(ValueError, match="expected lines cpu0"):
        backend.sample()


def test_a_kernel_may_say_less_of_its_cpus(machine):
    """Without the field for disk waits, idle time is what is said to be idle."""
    (machine.procfs / "stat").write_text("cpu 1 0 1 5\ncpu0 1 0 1 5\n")
    backend = machine.start()
    machine.now_ns += S
    (machine.procfs / "stat").write_text("cpu 1 0 1 25\ncpu0 1 0 1 25\n")
    sample = backend.sample()
    assert list(sample.cpus.idle_ns) == [20 * TICK_NS]
