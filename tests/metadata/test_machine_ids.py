# SPDX-License-Identifier: Apache-2.0
"""Ids of machines by process: one for each that runs, for as long as it runs, whatever it says of itself."""

from hypothesis import given
from hypothesis import strategies as st

from services.metadata.machines.guest import Guest
from services.metadata.machines.ids import MACHINES_MAX, ROOTS_MACHINES_MAX, MachineIds, Scope

U, V = "c7a5fdbd-edaf-9455-926a-d65c16db1809", "11111111-2222-3333-4444-555555555555"
ROOT, USER, POD = Scope(0, ""), Scope(1000, ""), Scope(107, "a1" * 32)
WEB, DB = (10, 100), (11, 200)


def qemu(uuid="", name=""):
    return Guest("qemu", name, uuid, uuid)


class Living(set):
    """Processes that live."""

    def ids(self):
        return MachineIds(self.__contains__)


def test_a_uuid_is_the_id():
    """The same at each start of the machine; without a uuid, pid and start, which are new at each."""
    ids = Living({WEB, DB}).ids()
    assert ids.give(WEB, qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give(DB, qemu(name="db"), ROOT) == "qemu-11.200"
    assert ids.given() == {WEB: f"qemu-{U}", DB: "qemu-11.200"}
    assert ids.give((12, 300), Guest("firecracker", "web", "", "web"), ROOT) == "firecracker-web"


def test_a_user_joins_nobody():
    """The id of another user's process has that user's number, whatever it calls itself."""
    ids = Living({WEB, DB}).ids()
    assert ids.give(WEB, qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give(DB, qemu(U), USER) == f"qemu-{U}@1000"
    assert ids.give((12, 300), qemu(), USER) == "qemu-12.300@1000"


def test_a_second_machine_with_a_uuid_is_shown_apart():
    """Of the same user too, and in another container: the first one keeps the id."""
    ids = Living({WEB, DB}).ids()
    assert ids.give(WEB, qemu(U), POD) == f"qemu-{U}@107"
    assert ids.give(DB, qemu(U), POD) == "qemu-11.200@107"
    assert ids.give((12, 300), qemu(U), POD._replace(container_id="b2" * 32)) == "qemu-12.300@107"
    assert ids.give(WEB, qemu(V), POD) == f"qemu-{U}@107"  # asked again: it does not change


def test_root_of_a_container_does_not_join_the_hosts():
    """Its user number is root's as well; even when the host's machine has ended, while that is remembered."""
    living = Living({WEB, DB})
    ids = living.ids()
    in_container = Scope(0, "a1" * 32)
    assert ids.give(WEB, qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give(DB, qemu(U), in_container) == "qemu-11.200"
    living.clear()
    living.add((12, 300))
    assert ids.give((12, 300), qemu(U), in_container) == "qemu-12.300"


def test_a_machine_that_is_started_again_keeps_its_id():
    """By the same user at the same place, once the first process has ended."""
    living = Living({WEB})
    ids = living.ids()
    assert ids.give(WEB, qemu(U), ROOT) == f"qemu-{U}"
    living.remove(WEB)
    living.add(DB)
    assert ids.give(DB, qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give((12, 300), qemu(U), ROOT) == "qemu-12.300"


def test_a_child_is_the_same_machine():
    """QEMU's -daemonize goes on in a child while the parent is still there; a recycled pid is no parent."""
    living = Living({WEB, DB})
    ids = living.ids()
    assert ids.give(WEB, qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give(DB, qemu(U), ROOT, parent_pid=WEB[0]) == f"qemu-{U}"
    living.remove(WEB)
    assert ids.give((12, 300), qemu(U), ROOT, parent_pid=WEB[0]) == "qemu-12.300"


def test_what_is_forgotten_leaves_its_id():
    """And nothing of it in memory."""
    living = Living({WEB, DB})
    ids = living.ids()
    ids.give(WEB, qemu(U), ROOT)
    ids.forget({WEB})
    assert ids.given() == {WEB: f"qemu-{U}"}
    ids.forget(())
    assert ids.given() == {}
    assert ids.give(DB, qemu(U), POD._replace(uid=0)) == f"qemu-{U}"


def test_the_ids_of_a_previous_run_stay():
    """Also where this run would choose others: a machine's rival has ended, or its user has changed."""
    living = Living({WEB, DB, (12, 300)})
    ids = living.ids()
    ids.resume({WEB: "qemu-10.100", DB: f"qemu-{U}", (13, 1): f"qemu-{V}"})
    assert ids.take_up(WEB, ROOT) == ids.give(WEB, qemu(U), ROOT) == "qemu-10.100"
    assert ids.give((12, 300), qemu(U), ROOT) == "qemu-12.300"  # its owner lives, and has not been seen yet
    assert ids.take_up(DB, USER) == ids.give(DB, qemu(U), USER) == f"qemu-{U}"
    assert {*ids.waiting()} == {(13, 1)}
    assert ids.give((14, 400), qemu(V), ROOT) == f"qemu-{V}"  # that one's has ended


def test_each_user_has_so_many():
    """A user's further machines have no id; those of others have theirs."""
    living = Living()
    ids = living.ids()
    given = [ids.give((pid, pid), qemu(), USER) for pid in range(100, 100 + MACHINES_MAX + 1)]
    assert given[-2:] == [f"qemu-{98 + MACHINES_MAX + 1}.{98 + MACHINES_MAX + 1}@1000", ""]
    assert ids.give((1, 1), qemu(U), USER) == ""
    assert ids.give((2, 2), qemu(U), ROOT) == f"qemu-{U}"
    assert ids.give((3, 3), qemu(), Scope(1000, "a1" * 32)) == "qemu-3.3@1000"
    roots = [ids.give((pid, pid), qemu(), ROOT) for pid in range(1000, 1000 + ROOTS_MACHINES_MAX)]
    assert (roots[-2] != "", roots[-1]) == (True, "")


STEPS = st.lists(
    st.tuples(
        st.integers(1, 8),  # pid
        st.sampled_from([ROOT, USER, POD, POD._replace(uid=0)]),
        st.sampled_from([qemu(U), qemu(V), qemu(), Guest("firecracker", "web", "", "web")]),
        st.booleans(),  # another process with that pid has ended before
    ),
    max_size=40,
)


@given(STEPS)
def test_living_machines_never_share_an_id(steps):
    """Whatever starts and ends in whatever order, ids of living processes differ, and none changes."""
    living, starts, known = Living(), {}, {}
    ids = living.ids()
    for tick, (pid, scope, guest, is_new) in enumerate(steps, 1):
        if is_new or pid not in starts:
            living.discard((pid, starts.get(pid, 0)))
            starts[pid] = tick
            living.add((pid, tick))
        key = (pid, starts[pid])
        machine_id = ids.give(key, guest, scope)
        assert known.setdefault(key, machine_id) == machine_id
        shown = [known[one] for one in living if one in known]
        assert len(shown) == len({*shown})


@given(STEPS)
def test_users_never_share_an_id(steps):
    """At no time, while they are remembered: neither with each other nor with root."""
    ids = Living().ids()
    owners = {}
    for tick, (pid, scope, guest, _is_new) in enumerate(steps, 1):
        machine_id = ids.give((pid, tick), guest, scope)
        assert owners.setdefault(machine_id, scope) == scope
