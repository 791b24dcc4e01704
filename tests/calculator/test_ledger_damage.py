# SPDX-License-Identifier: Apache-2.0
"""A ledger that was torn, damaged, or is another's: the older one, or none; never a wrong number."""

import contextlib
import tracemalloc

import msgpack
import pytest

from services.calculator.ledger_file import LedgerFile
from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LEDGER_SCHEMA, LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.reported_names import ContainerName
from services.calculator.rules import Rules
from services.calculator.state import State
from wattline.wire import parts, shared
from wattline.wire.codec import pack, unpack
from wattline.wire.columns import U32

from .world import World

A, B = (2, 10, 100), (4, 11, 100)
NODE, BOOT = "node-1", "boot-1"


class Killed(BaseException):
    """The process is no more."""


def state_after(ticks):
    """Small books with everything in them."""
    world, state, names, rules = World(), State(7), Names(), Rules()
    names.take_metadata(world.metadata((2, 4)))
    for tick in range(ticks):
        world.run(1, {A: 0.3, B: 0.2 * (tick < 2)})
        state.take_activity(world.activity(), names)
        state.take_power(world.power(), rules)
        state.attribute(rules)
    return state


FOUR = state_after(4)


def committed(path, *ticks):
    ledger = LedgerFile(path, NODE, BOOT)
    for count in ticks:
        ledger.commit(state_after(count))
    ledger.close()


def recovered(path, said=pytest.fail):
    """The recovered state as bytes; None if there is none."""
    state = LedgerFile(path, NODE, BOOT).recover(said)
    return None if state is None else as_bytes(state)


def as_bytes(state):
    return pack(to_document(state, NODE, BOOT))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger"


@pytest.mark.parametrize("begins", [False, True])
def test_a_write_torn_at_any_byte_falls_back_to_what_was_published(path, begins):
    """Killed at each byte of a commit: the state before it, or, once all is there, the new one; no third.

    A calculator's first commit (`begins`) also makes the file anew.
    """
    before, after = as_bytes(state_after(3)), as_bytes(state_after(4))
    committed(path, 2, 3)
    untouched = path.read_bytes()
    outcomes = []
    store = shared.SlotWriter._store
    total = 2 * (3 * 8 + 32 + len(after)) if begins else 2 * 8 + 32 + len(after)
    for survive in range(total + 1):
        path.write_bytes(untouched)
        ledger, left = LedgerFile(path, NODE, BOOT), survive
        ledger._writer = None if begins else shared.SlotWriter(path)

        def torn(writer, offset, data):
            nonlocal left
            store(writer, offset, data[: max(0, left)])
            left -= len(data)
            if left < 0:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shared.SlotWriter, "_store", torn)
            with contextlib.suppress(Killed):
                ledger.commit(FOUR)
        ledger.close()
        outcomes.append(recovered(path))
    assert set(outcomes) == {before, after}
    # Before all bytes of the new state are there it is the old one, without exception.
    first = outcomes.index(after)
    assert first >= 8 + len(after)
    assert all(outcome == after for outcome in outcomes[first:])


def test_a_flipped_byte_is_never_a_wrong_number(path):
    """Each byte of a committed ledger changed in turn: the newest state, or set aside and said."""
    newest = as_bytes(state_after(3))
    committed(path, 2, 3)
    whole = path.read_bytes()
    capacity = int.from_bytes(whole[8:16], "little")
    used = [*range(16)]
    for slot in (0, 1):
        start = 16 + slot * (32 + capacity)
        used += range(start, start + 32 + int.from_bytes(whole[start + 16 : start + 24], "little"))
    kept = 0
    for position in used:
        said = []
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x11]) + whole[position + 1 :])
        found = recovered(path, said.append)
        assert found in (newest, None), position
        assert (found is None) == bool(said), position
        kept += found is not None
        path.with_name("ledger.refused").unlink(missing_ok=True)
    # Only the two marks may change without harm: the checksums vouch for what they mark.
    assert kept == 16


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("node", "node-2", "its node is 'node-2', expected 'node-1'"),
        ("boot_id", "boot-2", "its boot is 'boot-2', expected 'boot-1'"),
        ("ledger_schema", LEDGER_SCHEMA + 1, f"its schema is {LEDGER_SCHEMA + 1}, expected {LEDGER_SCHEMA}"),
        ("ledger_schema", LEDGER_SCHEMA - 1, f"its schema is {LEDGER_SCHEMA - 1}, expected {LEDGER_SCHEMA}"),
    ],
)
def test_anothers_ledger_is_set_aside(path, field, value, word):
    """Another node's, boot's or version's is never trusted, never fatal, and kept for whoever wants it."""
    document = to_document(state_after(3), NODE, BOOT)
    setattr(document, field, value)
    writer = shared.SlotWriter(path)
    writer.write(pack(document))
    writer.close()
    said = []
    assert recovered(path, said.append) is None
    assert word in said[0]
    assert not path.exists()
    assert path.with_name("ledger.refused").exists()


def test_a_ledger_from_before_names_goes_on(path):
    """A column that was added has its default; no books begin anew for it."""
    document = msgpack.unpackb(as_bytes(state_after(3)))
    assert document["workloads"].pop("container_name") == []
    assert set(document["workloads"].pop("unit")) == {""}
    assert document.pop("has_names")
    for name in [name for name in document if name.startswith("called_")]:
        del document[name]
    writer = shared.SlotWriter(path)
    writer.write(msgpack.packb(document))
    writer.close()
    expected = state_after(3)
    expected.fixed_names.containers = dict.fromkeys(expected.workloads.pod_of, ContainerName())
    assert recovered(path) == as_bytes(expected)


def test_a_ledger_from_before_pods_had_names_keeps_those_of_containers(path):
    """What was shown with labels keeps them; a container in a pod gets others by its pod's name anyway."""
    state = state_after(3)
    container_id = next(iter(state.workloads.pod_of))
    for workload in state.workloads.by_identity.values():
        if workload.container_id == container_id:
            workload.pod_uid = "pod-1"
    document = msgpack.unpackb(as_bytes(state))
    for name in [name for name in document if name.startswith("called_") or name == "has_names"]:
        del document[name]
    called = {}
    for told in ("", "web"):
        document["workloads"]["container_name"] = [
            told if one == container_id else "" for one in document["workloads"]["container_id"]
        ]
        state = from_document(unpack(msgpack.packb(document), LedgerDocument))
        called[told] = state.fixed_names.containers
        assert not state.fixed_names.pods
    others = {one: ContainerName() for one in state.workloads.pod_of if one != container_id}
    assert called == {"": others, "web": {container_id: ContainerName("web"), **others}}


def test_an_older_versions_layout_is_set_aside_by_its_number(path):
    """A document that lacks whole tables, as an older version wrote it, is told by its version."""
    writer = shared.SlotWriter(path)
    writer.write(b"\x82\xadledger_schema\x01\xa4node\xa6node-1")
    writer.close()
    said = []
    assert recovered(path, said.append) is None
    assert f"its schema is 1, expected {LEDGER_SCHEMA}" in said[0]


@pytest.mark.parametrize(
    ("table", "column"), [("rows", "cgroup_id"), ("rows", "start_ticks"), ("rows", "cpu_ns")]
)
def test_a_number_that_the_books_can_not_hold_is_set_aside(path, table, column):
    """What the wire's type allows and ours doesn't is damage, never an error at each start."""
    document = to_document(state_after(3), NODE, BOOT)
    getattr(getattr(document, table), column)[0] = 2**64 - 1
    writer = shared.SlotWriter(path)
    writer.write(pack(document))
    writer.close()
    said = []
    assert recovered(path, said.append) is None
    assert "all totals begin again at 0" in said[0]
    assert path.with_name("ledger.refused").exists()


def test_more_gaps_than_a_column_holds_are_committed(path):
    """Publishers may report as many in each of their epochs: the count stops there, the commits go on."""
    world, state, rules = World(), State(7), Rules()
    for _epoch in range(2):
        world.run(1, {A: 0.3})
        power = world.power()
        power.zones.gaps[0] = 2**32 - 1
        state.take_power(power, rules)
        world.power_epoch = world.now_ns
    world.run(1, {A: 0.3})
    state.take_power(world.power(), rules)
    ledger = LedgerFile(path, NODE, BOOT)
    ledger.commit(state)
    ledger.close()
    (again,) = LedgerFile(path, NODE, BOOT).recover(pytest.fail).zones.zones.values()
    assert again.gaps.before == 2**32 - 1


@pytest.mark.parametrize("empty", ["", 0, {}], ids=repr)
@pytest.mark.parametrize("key", ["unknown", "counters", "models", "zones", "raw"])
def test_a_ledger_of_many_empty_elements_takes_little_memory(path, key, empty):
    """A byte of MessagePack can stand for an object of seventy: a damaged ledger is bounded as a frame is."""
    document = msgpack.unpackb(as_bytes(state_after(3)))
    (document["rows"] if key == "raw" else document)[key] = [[empty] * 400_000] * 5
    data = msgpack.packb(document)
    writer = shared.SlotWriter(path)
    writer.write(data)
    writer.close()
    tracemalloc.start()
    try:
        assert (recovered(path, [].append) is None) == (key != "unknown")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 8_000_000
    finally:
        tracemalloc.stop()


def test_a_ledger_may_have_longer_columns_than_a_frame(path):
    """Windows times accounts: a million rows are the limit of a stranger's column, not of our own."""
    state = state_after(3)
    document = to_document(state, NODE, BOOT)
    number = parts.ROWS_MAX + 1
    document.told.window_row = U32(bytes(4 * number))
    document.told.feature_row = U32(bytes(4 * number))
    assert len(unpack(pack(document), LedgerDocument).told) == number
