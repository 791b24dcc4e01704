# SPDX-License-Identifier: Apache-2.0
"""What removed cgroups used is counted once, whatever was seen of it before their rows went up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.calculator.removed_cgroups import ancestors, only_needed, parents_in
from wattline.wire.columns import U8, U64
from wattline.wire.frames import ActivityPaths

from .cgroup_tree import ROOT, CgroupTree
from .use import LOST, Usage, unlisted


def test_rows_of_several_sockets_are_one_cgroup():
    """Rows of a cgroup, and of a process in it, are summed over sockets before differences are taken."""
    tree, book = CgroupTree(), Usage()
    cgroup = tree.born()
    tree.use(cgroup, 5, pid=20, socket=0)
    tree.use(cgroup, 7, pid=20, socket=1)
    tree.use(cgroup, 3, socket=1)
    assert book.advance(tree.activity()).used_ns == {(cgroup, 20, 7): 12, unlisted(cgroup): 3}
    tree.use(cgroup, 1, pid=20, socket=1)
    tree.use(cgroup, 2, socket=0)
    assert book.advance(tree.activity()).used_ns == {(cgroup, 20, 7): 1, unlisted(cgroup): 2}


def test_a_row_that_goes_up_is_not_used_again():
    """A removed cgroup whose last figure was seen adds nothing when its row becomes its parent's departed."""
    tree, book = CgroupTree(), Usage()
    parent = tree.born()
    child = tree.born(parent)
    tree.use(child, 100, pid=20)
    tree.use(parent, 10)
    book.advance(tree.activity())
    tree.end(20)
    tree.remove(child)
    assert book.advance(tree.activity()).used_ns == {}
    tree.fold(child)
    tree.use(parent, 1)
    assert book.advance(tree.activity()).used_ns == {unlisted(parent): 1}
    assert book.advance(tree.activity()).used_ns == {}


def test_what_was_missed_of_a_removed_cgroup_is_its_parents():
    """Use that no frame showed, of a cgroup whose row has gone since, is the parent's unlisted use."""
    tree, book = CgroupTree(), Usage()
    parent = tree.born()
    child = tree.born(parent)
    tree.use(child, 100, pid=20)
    book.advance(tree.activity())
    tree.use(child, 30, pid=20)
    tree.end(20)
    tree.remove(child)
    tree.fold(child)
    assert book.advance(tree.activity()).used_ns == {unlisted(parent): 30}


def test_a_cgroup_that_was_never_seen_is_its_parents():
    """A cgroup born, removed and folded between two frames is the parent's use, whole."""
    tree, book = CgroupTree(), Usage()
    parent = tree.born()
    tree.use(parent, 1)
    book.advance(tree.activity())
    child = tree.born(parent)
    tree.use(child, 40, pid=20)
    tree.end(20)
    tree.remove(child)
    tree.fold(child)
    assert book.advance(tree.activity()).used_ns == {unlisted(parent): 40}


def test_a_chain_that_goes_up_at_once():
    """Child into parent and parent into grandparent in one window: what was missed is the grandparent's."""
    tree, book = CgroupTree(), Usage()
    grandparent = tree.born()
    parent = tree.born(grandparent)
    child = tree.born(parent)
    other = tree.born(grandparent)
    for cgroup, ns in ((grandparent, 1), (parent, 20), (child, 300), (other, 4000)):
        tree.use(cgroup, ns)
    book.advance(tree.activity())
    tree.use(child, 5)
    tree.use(parent, 6)
    elsewhere = tree.born()
    unseen = tree.born(elsewhere)
    tree.use(unseen, 9000)  # not to be mistaken for it
    for cgroup in (child, parent, unseen):
        tree.remove(cgroup)
        tree.fold(cgroup)
    assert book.advance(tree.activity()).used_ns == {unlisted(grandparent): 11, unlisted(elsewhere): 9000}


def test_a_chain_that_goes_up_step_by_step():
    """A departed row that was seen and goes up in its turn is not used again either."""
    tree, book = CgroupTree(), Usage()
    grandparent = tree.born()
    parent = tree.born(grandparent)
    child = tree.born(parent)
    tree.use(child, 300)
    book.advance(tree.activity())
    for cgroup in (child, parent):
        tree.use(cgroup, 2)
        tree.remove(cgroup)
        assert sum(book.advance(tree.activity()).used_ns.values()) == 2
        tree.fold(cgroup)
        assert book.advance(tree.activity()).used_ns == {}
    assert sum(tree.departed.values()) == 304


def test_a_departed_row_that_begins_anew():
    """A parent that goes up before its last child leaves a departed row behind: what was in it is further up.

    Each finds its place though another cgroup's unseen use is there to be mistaken for it.
    """
    tree, book = CgroupTree(), Usage()
    other = tree.born()
    parent = tree.born(tree.born())
    first, last = tree.born(parent), tree.born(parent)
    for cgroup, ns in ((ROOT, 1), (first, 500), (last, 60), (other, 7)):
        tree.use(cgroup, ns)
    tree.remove(first)
    tree.fold(first)
    book.advance(tree.activity())
    tree.use(last, 2)
    tree.remove(last)
    tree.remove(parent)
    tree.fold(parent)
    tree.fold(last)
    unseen = tree.born(other)
    tree.use(unseen, 9000)
    tree.remove(unseen)
    tree.fold(unseen)
    assert book.advance(tree.activity()).used_ns == {unlisted(parent): 2, unlisted(other): 9000}


def test_parents_are_known_after_a_restart():
    """The ledger keeps who is above whom, and departed rows: paths in frames go with the rows."""
    tree, book = CgroupTree(), Usage()
    one, two = tree.born(), tree.born()
    gone, child = tree.born(one), tree.born(one)
    for cgroup, ns in ((one, 1), (two, 2), (gone, 30), (child, 400)):
        tree.use(cgroup, ns)
    tree.remove(gone)
    tree.fold(gone)
    book.advance(tree.activity())
    book = book.from_ledger()
    unseen = tree.born(two)
    tree.use(unseen, 5000)
    for cgroup in (child, unseen):
        tree.remove(cgroup)
        tree.fold(cgroup)
    assert book.advance(tree.activity()).used_ns == {unlisted(two): 5000}


def test_a_process_row_that_outlives_its_cgroup_is_not_used_twice():
    """A process that moved away keeps its row in a cgroup whose own row goes up: its time is in both."""
    tree, book = CgroupTree(), Usage()
    parent = tree.born()
    child = tree.born(parent)
    tree.use(parent, 1)
    tree.use(child, 100, pid=20)
    book.advance(tree.activity())
    tree.use(child, 50, pid=20)
    tree.remove(child)
    tree.fold(child)
    assert book.advance(tree.activity()).used_ns == {(child, 20, 7): 50}
    assert book.advance(tree.activity()).used_ns == {}


def test_a_row_that_the_full_table_lost_is_not_used_twice():
    """A row that found no room above is added to lost time; the part of it that was seen isn't lost again."""
    tree, book = CgroupTree(), Usage()
    cgroup = tree.born()
    tree.use(cgroup, 100)
    book.advance(tree.activity())
    tree.use(cgroup, 7)
    tree.remove(cgroup)
    tree.fold(cgroup, table_is_full=True)
    assert book.advance(tree.activity()).used_ns == {LOST: 7}


def test_rows_that_just_vanish_take_nothing_from_others():
    """From a publisher that lets rows of removed cgroups go, the next frames are none the worse for it."""
    tree, book = CgroupTree(), Usage()
    cgroup, other = tree.born(), tree.born()
    tree.use(cgroup, 100, pid=20)
    tree.use(other, 1)
    book.advance(tree.activity())
    del tree.own[cgroup, 0]
    tree.end(20)
    tree.use(other, 2)
    assert book.advance(tree.activity()).used_ns == {unlisted(other): 2}
    assert book.owed == {}


def test_a_parent_without_a_row_is_below_the_nearest_listed():
    """Frames list only cgroups with rows: the others are placed by their paths."""
    paths = ActivityPaths(
        cgroup_id=U64([1, 5, 9]),
        parent_id=U64([0, 4, 8]),
        removed=U8([0, 0, 0]),
        path=["/", "/slice/pod", "/slice/pod/inner/scope"],
    )
    assert parents_in(paths) == {5: 4, 4: 1, 9: 8, 8: 5}
    assert list(ancestors(9, parents_in(paths))) == [8, 5, 4, 1]


def test_parents_that_go_round_end_nobody():
    """A publisher that says A is above B above A gets an answer all the same."""
    assert list(ancestors(1, {1: 2, 2: 1})) == [2]
    assert list(ancestors(1, {1: 1})) == []
    assert only_needed({1: 2, 2: 1, 3: 1}, [2]) == {2: 1, 1: 2}


def test_who_has_gone_is_forgotten():
    """The book holds no more than the rows of the last frame, and what is above them."""
    tree, book = CgroupTree(), Usage()
    slice_ = tree.born()  # without a row of its own
    for _round in range(50):
        child = tree.born(slice_)
        tree.use(child, 10)
        book.advance(tree.activity())
        tree.remove(child)
        tree.fold(child)
    book.advance(tree.activity())
    assert book.own == {}
    assert book.parents == {slice_: ROOT}


def test_what_nobody_will_pay_is_forgotten():
    """A new cgroup owes until the next frame, which has its row, or some gain that its row went into."""
    tree, book = CgroupTree(), Usage()
    cgroup = tree.born()
    book.advance(tree.activity(unread=((cgroup, 20, 5),)))
    assert book.owed == {cgroup: 5}
    del tree.own[cgroup, 0]  # from a publisher that does neither
    assert book.advance(tree.activity()).used_ns == {}
    assert book.owed == {}


steps = st.lists(
    st.fixed_dictionaries(
        {
            # Numbers stand for cgroups and processes, modulo as many as there are.
            "born": st.lists(st.integers(0, 50), max_size=2),
            "use": st.lists(
                st.tuples(st.integers(0, 50), st.integers(0, 4), st.integers(1, 10**6), st.integers(0, 1)),
                max_size=4,
            ),
            "ends": st.lists(st.integers(1, 4), max_size=1),
            "removed": st.lists(st.integers(0, 50), max_size=3),
            "folded": st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=3),
            "fold_all": st.booleans(),
            "unread": st.lists(
                st.tuples(st.integers(0, 50), st.integers(1, 4), st.integers(1, 1000)), max_size=2
            ),
            "frame": st.sampled_from(["taken", "taken", "lost"]),
            "event": st.sampled_from([None, None, None, "committed", "killed"]),
        }
    ),
    max_size=25,
)


class Run:
    """A tree and the book of a calculator that sees some of its frames, and goes on from its ledger."""

    def __init__(self):
        self.tree, self.book, self.taken_ns = CgroupTree(), Usage(), 0
        self.ledger = (Usage(), 0)

    def change(self, step):
        tree = self.tree
        for number in step["born"]:
            tree.born(tree.alive()[number % len(tree.alive())])
        for number, pid, ns, socket in step["use"]:
            tree.use(tree.alive()[number % len(tree.alive())], ns, pid, socket)
        for pid in step["ends"]:
            tree.end(pid)
        for number in step["removed"]:
            leaves = [one for one in tree.alive() if one != ROOT and not tree.children(one)]
            if leaves:
                tree.remove(leaves[number % len(leaves)])
        for number, table_is_full in step["folded"]:
            waiting = sorted(tree.removed & tree.paths.keys())
            if waiting:
                tree.fold(waiting[number % len(waiting)], table_is_full=table_is_full)
        if step["fold_all"]:
            tree.fold_all()

    def take(self, frame):
        use = self.book.advance(frame)
        assert all(ns > 0 for ns in use.used_ns.values())
        self.taken_ns += sum(use.used_ns.values())

    def restart(self, event):
        if event == "committed":
            self.ledger = (self.book.from_ledger(), self.taken_ns)
        elif event == "killed":
            self.book, self.taken_ns = self.ledger[0].from_ledger(), self.ledger[1]


@settings(max_examples=600)
@given(steps)
def test_every_nanosecond_is_taken_once(timeline):
    """Σ of all use ever taken is what was really used, to the nanosecond, after every frame that arrives.

    Whatever is born, moves, is removed and goes up, whichever frames are lost, and wherever the calculator
    goes on from.
    """
    run = Run()
    for step in timeline:
        run.change(step)
        frame = run.tree.activity()
        if step["frame"] == "taken":
            run.take(frame)
            assert run.taken_ns == run.tree.used_ns
            assert run.book.owed == {}
        run.restart(step["event"])
    run.take(run.tree.activity())
    assert run.taken_ns == run.tree.used_ns


@settings(max_examples=600)
@given(steps)
def test_skew_is_owed_and_never_adds_up(timeline):
    """Processes are read after cgroups: what they have more is owed, also if the cgroup goes meanwhile.

    Process rows go with their cgroup here: one of a cgroup that was never seen could be a new one's as well.
    """
    run = Run()
    for step in timeline:
        run.change(step)
        for key in [key for key in run.tree.processes if key[0] not in run.tree.paths]:
            del run.tree.processes[key]
        alive, before_ns = run.tree.alive(), run.tree.used_ns
        unread = tuple((alive[number % len(alive)], pid, ns) for number, pid, ns in step["unread"])
        frame = run.tree.activity(unread)
        if step["frame"] == "taken":
            run.take(frame)
            owed_ns = sum(run.book.owed.values())
            assert run.taken_ns - owed_ns == before_ns
            assert owed_ns <= run.tree.used_ns - before_ns
        run.restart(step["event"])
    run.take(run.tree.activity())
    assert run.taken_ns == run.tree.used_ns
