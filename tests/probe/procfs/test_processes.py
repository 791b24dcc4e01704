# SPDX-License-Identifier: Apache-2.0
"""Rows of processes: who each is, where it ran, when it ends."""

import pytest

from services.probe.processes import parse_stat
from services.probe.procfs.processes import _ROWS_MAX
from tests.probe.rows import processes
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD

from .fake_machine import PF_KTHREAD, TICK_NS, US, S, frame
from .invariants import assert_closed_and_nothing_fell


def test_a_reused_pid_is_another_row(machine):
    """Same pid and same name with another start: the first has ended, the second begins at 0."""
    machine.spawn(7, start=100, ticks=50)
    backend = machine.start()
    machine.work(7, 3)
    backend.sample()
    machine.spawn(7, start=200, ticks=2)
    sample = backend.sample()
    assert processes(sample)[machine.id(""), 7] == [
        ("fake", 200, 0, 2 * TICK_NS),
        ("fake", 100, PROCESS_ENDED, 3 * TICK_NS),
    ]


def test_an_ended_process_is_listed_until_it_is_retired(machine):
    """Its row stays, flagged, with all that was seen; retiring counts it once and takes no time away."""
    machine.make("/a")
    machine.spawn(7, "/a")
    machine.spawn(8, "/a", flags=PF_KTHREAD)
    backend = machine.start()
    machine.work(7, 4)
    machine.use("/a", 40_000)
    machine.pass_time(S)
    before = backend.sample()
    machine.kill(7)
    machine.kill(8)
    machine.pass_time(S)
    ended = backend.sample()
    key = machine.id("/a"), 7
    assert processes(ended)[key] == [("fake", 100, PROCESS_ENDED, 4 * TICK_NS)]
    assert processes(ended)[machine.id("/a"), 8][0][2] == PROCESS_ENDED | PROCESS_KERNEL_THREAD
    assert backend.retire(machine.now_ns) == 0, "it ended at that time, not before"
    assert backend.retire(machine.now_ns + 1) == 2
    assert backend.retire(machine.now_ns + 1) == 0
    after = backend.sample()
    assert len(after.processes) == 0
    assert_closed_and_nothing_fell(before, after)


def test_a_process_that_vanishes_while_it_is_read_is_passed_over(machine):
    """A directory whose files are gone, or whose stat is empty or cut, is nobody, and stops nothing."""
    machine.spawn(7)
    for pid, content in ((8, None), (9, b""), (10, b"10 (cut"), (11, b"11 (cut) S 1 2")):
        (machine.procfs / str(pid)).mkdir()
        if content is not None:
            (machine.procfs / str(pid) / "stat").write_bytes(content)
    backend = machine.start()
    sample = backend.sample()
    assert list(sample.processes.pid) == [7]


def test_a_moved_process_keeps_a_row_in_each_cgroup(machine):
    """The old row stands still, the new one has what follows; back again, the old one goes on."""
    for path in ("/a", "/b"):
        machine.make(path)
    machine.spawn(7, "/a", ticks=30)
    backend = machine.start()
    found = []
    for cgroup in ("/a", "/b", "/b", "/a"):
        machine.move(7, cgroup)
        machine.work(7, 10)
        machine.use(cgroup, 10 * TICK_NS // US)
        machine.pass_time(S)
        rows = processes(backend.sample())
        found.append([rows.get((machine.id(path), 7), [[0]])[0][-1] // TICK_NS for path in ("/a", "/b")])
    assert found == [[10, 0], [10, 10], [10, 20], [20, 20]]


def test_a_process_that_moves_in_its_sleep_has_a_row_where_it_is(machine):
    """Nothing it says of itself has changed, and yet it is in another cgroup."""
    machine.make("/a")
    machine.spawn(7)
    backend = machine.start()
    backend.sample()
    machine.move(7, "/a")
    assert set(processes(backend.sample())) == {(machine.id(""), 7), (machine.id("/a"), 7)}


def test_a_move_leaves_to_the_old_cgroup_what_the_new_one_did_not_use(machine):
    """Of a process's use in the tick in which it moved, the new cgroup has no more than its own use."""
    for path in ("/a", "/b"):
        machine.make(path)
    machine.spawn(7, "/a")
    backend = machine.start()
    backend.sample()
    machine.move(7, "/b")
    machine.work(7, 10)
    machine.use("/a", 6 * TICK_NS // US)
    machine.use("/b", 4 * TICK_NS // US)
    machine.pass_time(S)
    rows = processes(backend.sample())
    assert [rows[machine.id(path), 7][0][-1] // TICK_NS for path in ("/a", "/b")] == [6, 4]


def test_moving_on_and_on_gathers_no_rows_without_end(machine):
    """After so many cgroups a process stays in the last one, and loses no time."""
    machine.spawn(7)
    backend = machine.start()
    for number in range(_ROWS_MAX + 5):
        machine.make(f"/{number}")
        machine.move(7, f"/{number}")
        machine.work(7, 1)
        machine.use(f"/{number}", TICK_NS // US)
        machine.pass_time(S)
        sample = backend.sample()
    assert len(sample.processes) == _ROWS_MAX
    assert sum(sample.processes.cpu_ns) == (_ROWS_MAX + 5) * TICK_NS


def test_an_unlisted_process_is_asked_for_its_cgroup(machine):
    """One that no cgroup.procs lists (a zombie) is where it says; if that is gone, in its parent."""
    machine.make("/a")
    machine.make("/a/b")
    machine.spawn(7, "/a/b")
    machine.spawn(8, "/a/b")
    (machine.procfs / "8" / "cgroup").write_text("0::/a/gone (deleted)\n")
    (machine.mount / "a" / "b" / "cgroup.procs").write_text("")
    backend = machine.start()
    rows = processes(backend.sample())
    assert set(rows) == {(machine.id("/a/b"), 7), (machine.id("/a"), 8)}


HOSTILE = [b"a) S 1 2 (b", b") (", b"two\nlines", b"\xff\xfe", b"", b"((((", b"\x1b[31m)\t0 0"]


@pytest.mark.parametrize("comm", HOSTILE)
def test_a_name_may_be_anything(machine, comm):
    """Parentheses, blanks, newlines and invalid UTF-8 in a name move no field, and come out harmless."""
    machine.spawn(7, comm=comm, start=321, ticks=5)
    backend = machine.start()
    machine.work(7, 6)
    sample = frame(backend, backend.sample())
    ((name, start, flags, ns),) = processes(sample)[machine.id(""), 7]
    assert (start, flags, ns) == (321, 0, 6 * TICK_NS)
    assert name.isprintable()


def test_a_process_may_become_another_program(machine):
    """Its name and its flag are those of now."""
    machine.spawn(7, comm="kthread", flags=PF_KTHREAD)
    backend = machine.start()
    assert processes(backend.sample())[machine.id(""), 7][0][::2] == ("kthread", PROCESS_KERNEL_THREAD)
    machine.spawn(7, comm="init")
    assert processes(backend.sample())[machine.id(""), 7][0][::2] == ("init", 0)


@pytest.mark.parametrize(
    ("said", "comm"),
    [
        (b"kworker/0:1-events", b"kworker/0:1"),
        (b"kworker/u8:3+events_unbound", b"kworker/u8:3"),
        (b"kworker/0:0H-kblockd", b"kworker/0:0H"),
        (b"kworker/R-kvfree_rcu_reclaim", b"kworker/R-kvfre"),
        (b"pool_workqueue_release", b"pool_workqueue_"),
    ],
)
def test_a_kernel_threads_name_is_cut_to_the_tasks_own(said, comm):
    """/proc spells it out and adds the last work; the task's own name has 15 bytes and stays."""
    tail = b" S 2 0 0 0 -1 %d 0 0 0 0 1 2 0 0 20 0 1 0 99 0" % PF_KTHREAD
    assert parse_stat(5, b"5 (" + said + b")" + tail).comm == comm
    assert parse_stat(5, b"5 (a-b)" + tail.replace(b"%d" % PF_KTHREAD, b"64")).comm == b"a-b"
