# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from .use import Usage, unlisted
from .world import S, World

A, B = (2, 10, 100), (2, 11, 100)


def test_use_is_the_difference_of_counters():
    """What a process used between two frames is the difference of its cumulative counters."""
    world, book = World(), Usage()
    world.run(1, {A: 0.25})
    book.advance(world.activity())
    world.run(1, {A: 0.5, B: 0.125})
    use = book.advance(world.activity())
    assert use is not None
    assert use.used_ns == {A: S // 2, B: S // 8}
    assert (use.start_ns, use.end_ns, use.gap) == (world.now_ns - S, world.now_ns, "")


def test_first_frame_covers_the_whole_epoch():
    """Counters began at 0 with the epoch, so nothing that ran before the first frame is lost."""
    world = World()
    world.run(3, {A: 1})
    use = Usage().advance(world.activity())
    assert use is not None
    assert (use.start_ns, use.used_ns) == (world.probe_epoch, {A: S})


def test_a_lost_frame_loses_no_time():
    """Frames are cumulative: the next one brings what the lost one would have."""
    world, book = World(), Usage()
    world.run(1, {A: 0.25})
    world.activity()
    world.run(1, {A: 0.25})
    use = book.advance(world.activity())
    assert use is not None
    assert use.used_ns == {A: S // 2}


def test_a_process_that_left_unseen_counts_in_its_cgroup():
    """Time of a process that no frame listed is its cgroup's unlisted time."""
    world, book = World(), Usage()
    world.run(1, {A: 0.25})
    book.advance(world.activity())
    world.run(1, {A: 0.25, B: 0.5})
    world.end(B)
    use = book.advance(world.activity())
    assert use is not None
    assert use.used_ns == {A: S // 4, unlisted(2): S // 2}


def test_a_process_that_left_counts_once():
    """A row that goes after it was counted isn't counted again as unlisted."""
    world, book = World(), Usage()
    world.run(1, {A: 0.25, B: 0.5})
    book.advance(world.activity())
    world.end(B)
    world.run(1, {A: 0.25})
    use = book.advance(world.activity())
    assert use is not None
    assert use.used_ns == {A: S // 4}


def test_a_new_epoch_begins_from_zero_and_leaves_a_gap():
    """When the probe's counters begin again, time from then on counts whole, and time before is a gap."""
    world, book = World(), Usage()
    world.run(1, {A: 0.5})
    book.advance(world.activity())
    world.run(2, {})
    world.restart_probe()
    world.run(1, {A: 0.125})
    use = book.advance(world.activity())
    assert use is not None
    assert use.gap == "probe_gap"
    assert (use.start_ns, use.used_ns) == (world.probe_epoch, {A: S // 8})


def test_old_frames_are_passed_over():
    """A repeated or older frame changes nothing."""
    world, book = World(), Usage()
    world.run(1, {A: 0.5})
    old = world.activity()
    world.run(1, {A: 0.5})
    book.advance(world.activity())
    assert book.advance(old) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-(10**5), 10**5)), min_size=1, max_size=30))
def test_skew_between_tables_never_adds_up(steps):
    """Tables read at different instants charge nobody negative time, and no time twice in the long run."""
    world, book = World(), Usage()
    charged_ns, ahead_ns = 0, 0
    for used_ns, skew_ns in steps:
        world.run(1, {A: used_ns / S})
        frame = world.activity()
        ahead_ns = max(0, skew_ns)
        frame.cgroups.cpu_ns[0] += ahead_ns  # the cgroup's row was read a little later
        use = book.advance(frame)
        assert use is not None
        assert all(ns > 0 for ns in use.used_ns.values())
        charged_ns += sum(use.used_ns.values())
    truth_ns = world.cpu_ns[A]
    assert truth_ns <= charged_ns <= truth_ns + 10**5
