# SPDX-License-Identifier: Apache-2.0
"""Restarts: the same epoch, or a new one with a reason."""

import os
import shutil

import pytest

from tests.probe.rows import cgroup_value, path_of, processes
from wattline.wire.frames import PROCESS_ENDED

from .fake_machine import MS, TICK_NS, US, S, descriptors, frame
from .invariants import assert_closed_and_nothing_fell


def test_a_successor_goes_on_in_the_same_epoch(machine):
    """Killed and started again: same epoch, all counters go on, also over what happened meanwhile."""
    for path in ("/a", "/a/b", "/gone"):
        machine.make(path)
    machine.spawn(7, "/a", ticks=100)
    machine.spawn(8, "/gone")
    backend = machine.start()
    machine.use("/a", 40_000)
    machine.use("/gone", 60_000)
    machine.work(7, 4)
    machine.pass_time(S)
    before, gone_id = backend.sample(), machine.id("/gone")
    machine.use("/gone", 1000)
    machine.kill(8)
    machine.remove("/gone")
    machine.use("/a", 50_000)
    machine.work(7, 5)
    machine.make("/new")
    machine.use("/new", 8000)
    machine.spawn(9, "/new", start=400, ticks=3)
    machine.pass_time(5 * S)
    again = machine.restart(backend, before)
    after = again.sample()
    assert (again.epoch, again.begun_because) == (backend.epoch, "")
    assert_closed_and_nothing_fell(before, after)
    assert cgroup_value(after, machine.id("/a")) == 90 * MS
    assert cgroup_value(after, machine.id("/new")) == 8 * MS
    assert (cgroup_value(after, gone_id), path_of(after, gone_id)) == (60 * MS, ("/gone", True))
    assert processes(after)[machine.id("/a"), 7] == [("fake", 100, 0, 9 * TICK_NS)]
    assert processes(after)[gone_id, 8] == [("fake", 100, PROCESS_ENDED, 0)]
    assert processes(after)[machine.id("/new"), 9] == [("fake", 400, 0, 3 * TICK_NS)]
    again.retire(machine.now_ns + 1)
    folded = again.sample()
    last = machine.restart(again, folded)
    assert last.sample() == folded, "nothing has happened since"
    assert cgroup_value(folded, machine.id(""), departed=True) == 60 * MS
    assert_closed_and_nothing_fell(after, folded)


def test_a_successor_knows_who_moved(machine):
    """The rows of a process in each of its cgroups go on; the one it is in now grows."""
    for path in ("/a", "/b"):
        machine.make(path)
    machine.spawn(7, "/b")
    backend = machine.start()
    for cgroup in ("/b", "/a", "/b"):
        machine.move(7, cgroup)
        machine.use(cgroup, TICK_NS // US)
        machine.work(7, 1)
        machine.pass_time(S)
        before = backend.sample()
    again = machine.restart(backend, before)
    machine.work(7, 2)
    machine.pass_time(S)
    rows = processes(again.sample())
    assert [rows[machine.id(path), 7][0][-1] // TICK_NS for path in ("/a", "/b")] == [1, 4]


def test_a_successor_knows_who_had_ended(machine):
    """Who had ended by the last frame is let go of by that time, and is not taken for who has the pid now."""
    machine.make("/gone")
    machine.spawn(7, start=100)
    backend = machine.start()
    machine.work(7, 5)
    machine.use("/gone", 10)
    machine.pass_time(S)
    backend.sample()
    machine.spawn(7, start=200, ticks=2)
    machine.remove("/gone")
    machine.pass_time(S)
    before, then_ns = backend.sample(), machine.now_ns
    machine.pass_time(S)
    again = machine.restart(backend, before)
    after = again.sample()
    assert processes(after) == processes(before)
    assert again.retire(then_ns + 1) == 1
    retired = again.sample()
    assert processes(retired)[machine.id(""), 7] == [("fake", 200, 0, 2 * TICK_NS)]
    assert list(retired.paths.path) == ["/"]
    assert_closed_and_nothing_fell(after, retired)


def spoil_nothing(_machine, last):
    return last


def spoil_boot(machine, last):
    machine.boot_id = "another"
    return last


def spoil_state(machine, last):
    content = bytearray(machine.state.read_bytes())
    content[60] ^= 0xFF  # in the payload of slot 0, and slot 1 is empty
    machine.state.write_bytes(bytes(content))
    return last


def spoil_length(machine, last):
    os.truncate(machine.state, 100)
    return last


def spoil_presence(machine, last):
    machine.state.unlink()
    return last


def spoil_mount(machine, last):
    shutil.rmtree(machine.mount)
    (machine.mount.parent / "other").mkdir()
    machine.mount.mkdir()
    machine._list("")
    return last


def spoil_last(_machine, _last):
    return None


def spoil_source(_machine, last):
    last.source = "ebpf"
    return last


def spoil_epoch(_machine, last):
    last.epoch -= 1
    return last


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_nothing, ""),
        (spoil_boot, "its boot is 'boot', expected 'another'"),
        (spoil_state, "neither slot is valid"),
        (spoil_length, "expected b'WATTLN01' and"),
        (spoil_presence, "no earlier count was left"),
        (spoil_mount, "its cgroup2 root is"),
        (spoil_last, "the last frame is (None, None)"),
        (spoil_source, "the last frame is ('ebpf',"),
        (spoil_epoch, "the last frame is ('procfs',"),
    ],
)
def test_what_cannot_be_gone_on_from_is_a_new_epoch_with_a_reason(machine, spoil, reason):
    """State missing, damaged, of another boot or mount, or not that of the last frame: all begins at 0."""
    machine.spawn(7, ticks=10)
    backend = machine.start()
    assert "no earlier count was left" in backend.begun_because
    machine.work(7, 10)
    machine.pass_time(S)
    last = frame(backend, backend.sample())
    last = spoil(machine, last)
    machine.pass_time(S)
    again = machine.start(last)
    rows = processes(again.sample())[machine.id(""), 7]
    assert reason in again.begun_because
    goes_on = spoil is spoil_nothing
    assert again.epoch == (backend.epoch if goes_on else machine.now_ns)
    assert rows[0][-1] == (10 * TICK_NS if goes_on else 0)


def test_a_new_epoch_can_be_gone_on_from_as_well(machine):
    """The state of a new epoch replaces the one that was no good."""
    machine.state.write_bytes(b"rubbish")
    backend = machine.start()
    machine.pass_time(S)
    again = machine.restart(backend, backend.sample())
    assert (again.epoch, again.begun_because) == (backend.epoch, "")


def test_closing_for_good_ends_the_epoch(machine):
    """Unless it is to be kept, the state goes, and no descriptor stays open."""
    before = descriptors()
    machine.make("/a")
    machine.spawn(7, "/a")
    backend = machine.start()
    backend.sample()
    assert descriptors() > before
    backend.close(keep=False)
    backend.close(keep=False)
    assert not machine.state.exists()
    assert descriptors() == before


def test_a_start_that_fails_leaves_no_descriptor(machine):
    """If the state can't be written, the error is told and every file is closed."""
    before = descriptors()
    machine.spawn(7)
    machine.state = machine.state / "nowhere" / "state"
    with pytest.raises(FileNotFoundError):
        machine.start()
    assert descriptors() == before
