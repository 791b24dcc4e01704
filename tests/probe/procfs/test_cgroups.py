# SPDX-License-Identifier: Apache-2.0
"""Rows of cgroups: each one's own time, and what becomes of it when the cgroup goes."""

import pytest

from tests.probe.rows import cgroup_value, charged_ns, elapsed_ns, path_of, processes
from wattline.wire.frames import CGROUP_DEPARTED

from .fake_machine import MS, US, S
from .invariants import assert_closed_and_nothing_fell


def test_a_cgroup_has_its_own_time_only(machine):
    """The kernel's account contains the descendants', ours does not; what is over is the root's."""
    for path in ("/a", "/a/b", "/a/b/c", "/d"):
        machine.make(path)
        machine.use(path, 5000)
    backend = machine.start()
    for path, us in {"/a": 100, "/a/b": 20_000, "/a/b/c": 3_000, "/d": 7}.items():
        machine.use(path, us)
    machine.pass_time(S, S - 30 * MS, S)
    sample = backend.sample()
    own = {path: cgroup_value(sample, machine.id(path)) for path in ("/a", "/a/b", "/a/b/c", "/d", "")}
    assert own == {"/a": 100 * US, "/a/b": 20 * MS, "/a/b/c": 3 * MS, "/d": 7 * US, "": 30 * MS - 23_107 * US}
    assert [path_of(sample, machine.id(path)) for path in ("", "/a/b/c")] == [("/", False), ("/a/b/c", False)]
    parents = dict(zip(sample.paths.cgroup_id, sample.paths.parent_id, strict=True))
    assert (parents[machine.id("")], parents[machine.id("/a/b")]) == (0, machine.id("/a"))


def test_an_account_that_seems_to_fall_waits(machine):
    """A child read later than its parent makes the parent's own time seem to fall: its row stands still."""
    for path in ("/a", "/a/b"):
        machine.make(path)
    backend = machine.start()
    found = []
    for own_us in (50, -20, 0, 30, 10):
        machine.usage_us["/a"] += own_us + 100
        machine._usage("/a")
        machine.usage_us["/a/b"] += 100
        machine._usage("/a/b")
        machine.pass_time(S)
        found.append(cgroup_value(backend.sample(), machine.id("/a")) // US)
    assert found == [50, 50, 50, 60, 70]


def test_a_removed_cgroup_is_folded_without_fall_or_double_count(machine):
    """Removed with its child: both rows stand until retired, then are in the living ancestor's row."""
    for path in ("/a", "/a/b", "/a/b/c"):
        machine.make(path)
    backend = machine.start()
    for path, us in {"/a": 1000, "/a/b": 200, "/a/b/c": 30}.items():
        machine.use(path, us)
    machine.pass_time(S)
    before, ids = backend.sample(), [machine.id(path) for path in ("/a", "/a/b", "/a/b/c")]
    machine.use("/a/b/c", 4)  # its last, which nobody sees
    machine.remove("/a/b/c")
    machine.remove("/a/b")
    machine.use("/a", 5000)
    machine.pass_time(S)
    removed = backend.sample()
    assert [cgroup_value(removed, cgroup_id) // US for cgroup_id in ids] == [6004, 200, 30]
    assert [path_of(removed, cgroup_id)[1] for cgroup_id in ids] == [False, True, True]
    backend.retire(machine.now_ns)
    assert sum(backend.sample().cgroups.flags) == 0, "removed at that time, not before"
    backend.retire(machine.now_ns + 1)
    machine.use("/a", 1)
    machine.pass_time(S)
    after = backend.sample()
    assert_closed_and_nothing_fell(before, removed)
    assert_closed_and_nothing_fell(removed, after)
    assert (cgroup_value(after, ids[0]), cgroup_value(after, ids[0], departed=True)) == (6005 * US, 230 * US)
    assert sorted(after.paths.cgroup_id) == sorted([machine.id(""), ids[0]])
    machine.remove("/a")
    backend.sample()
    backend.retire(machine.now_ns + 1)
    root = backend.sample()
    assert cgroup_value(root, machine.id(""), departed=True) == 6235 * US
    assert_closed_and_nothing_fell(after, root)


def test_what_is_folded_follows_when_the_middle_goes_later(machine):
    """A removed cgroup whose parent goes before it is retired leaves its time to the grandparent."""
    for path in ("/a", "/a/b", "/a/b/c"):
        machine.make(path)
    backend = machine.start()
    machine.use("/a/b/c", 30)
    machine.use("/a/b", 200)
    machine.pass_time(S)
    backend.sample()
    machine.remove("/a/b/c")
    machine.pass_time(S)
    backend.sample()
    backend.retire(machine.now_ns + 1)
    backend.sample()
    machine.remove("/a/b")
    machine.pass_time(S)
    before = backend.sample()
    assert sorted(before.cgroups.flags) == [0, 0, 0, CGROUP_DEPARTED], "/a/b still has its departed row"
    backend.retire(machine.now_ns + 1)
    after = backend.sample()
    assert cgroup_value(after, machine.id("/a"), departed=True) == 230 * US
    assert cgroup_value(after, machine.id("/a")) == 0
    assert_closed_and_nothing_fell(before, after)


def test_a_cgroup_that_goes_while_it_is_read_is_removed(machine):
    """It is listed, but its account is gone: what it had stays, and its process with it."""
    machine.make("/a")
    machine.spawn(7, "/a")
    backend = machine.start()
    machine.use("/a", 20_000)
    machine.work(7, 2)
    machine.pass_time(S)
    before = backend.sample()
    (machine.mount / "a" / "cpu.stat").unlink()
    # The fake's kept descriptor would read on; the kernel's does not.
    backend._files.close()
    machine.pass_time(S)
    after = backend.sample()
    assert path_of(after, machine.id("/a")) == ("/a", True)
    assert set(processes(after)) == {(machine.id("/a"), 7)}
    assert_closed_and_nothing_fell(before, after)


def test_claims_beyond_the_elapsed_time_are_paid_later(machine):
    """What cgroups claim beyond the CPUs' time is shared out as far as it goes, and made good afterwards."""
    for path in ("/a", "/b"):
        machine.make(path)
    backend = machine.start()
    machine.use("/a", 300_000)
    machine.use("/b", 100_000)
    machine.pass_time(100 * MS, 0, 0)
    first = backend.sample()
    assert [cgroup_value(first, machine.id(path)) for path in ("/a", "/b", "")] == [150 * MS, 50 * MS, 0]
    machine.pass_time(S, 900 * MS, 900 * MS)
    second = backend.sample()
    assert [cgroup_value(second, machine.id(path)) for path in ("/a", "/b")] == [300 * MS, 100 * MS]
    assert_closed_and_nothing_fell(first, second)


@pytest.mark.parametrize("told", ["", "nr_periods 0\n"])
def test_a_kernel_without_cgroup_accounts_has_all_in_the_root(machine, told):
    """Where cpu.stat says no usage (before Linux 4.15), the root has everything, named by its processes."""
    machine.make("/a")
    machine.spawn(7, "/a")
    (machine.mount / "a" / "cpu.stat").write_text(told)
    backend = machine.start()
    machine.work(7, 10)
    machine.pass_time(S, S - 150 * MS, S)
    sample = backend.sample()
    assert list(sample.paths.path) == ["/"]
    assert cgroup_value(sample, machine.id("")) == 150 * MS
    assert processes(sample)[machine.id(""), 7][0][-1] == 100 * MS
    assert sample.losses == {"unexplained_ns": 50 * MS}


def test_without_a_cgroup_mount_there_is_one_cgroup(machine):
    """All rows are in cgroup 1, which is called "/"."""
    machine.spawn(7)
    backend = machine.start(mount=False)
    machine.work(7, 10)
    machine.pass_time(S, S - 150 * MS, S)
    sample = backend.sample()
    assert (list(sample.cgroups.cgroup_id), list(sample.paths.path)) == ([1], ["/"])
    assert processes(sample) == {(1, 7): [("fake", 100, 0, 100 * MS)]}
    assert charged_ns(sample) == elapsed_ns(sample)


def test_what_no_process_of_the_root_explains_is_published(machine):
    """The root's time less what its processes ever had (steal, interrupts, the short-lived); never falls."""
    machine.spawn(7)
    machine.make("/a")
    machine.spawn(6, "/a")
    backend = machine.start()
    machine.pass_time(S, S - 300 * MS, S)
    machine.work(7, 10)
    machine.work(6, 5)  # is in /a, whatever that says
    first = backend.sample()
    assert first.losses == {"unexplained_ns": 200 * MS}
    machine.kill(7)
    machine.pass_time(S)
    ended = backend.sample()
    backend.retire(machine.now_ns + 1)
    machine.spawn(8)
    machine.work(8, 15)
    machine.pass_time(S, S - 100 * MS, S)  # 150 ms of a process are in 100 ms of the root: owed
    owed = backend.sample()
    again = machine.restart(backend, owed)
    machine.pass_time(S, S - 50 * MS, S)
    after = again.sample()
    assert [sample.losses["unexplained_ns"] // MS for sample in (ended, owed, after)] == [200, 200, 250]
