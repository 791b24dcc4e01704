# SPDX-License-Identifier: Apache-2.0
import msgspec
import pytest

from services.calculator.energy_frame import energy_tables
from services.calculator.ledger_file import LedgerFile
from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.state import State
from wattline.wire import shared
from wattline.wire.codec import pack, unpack

from .world import World

A, B = (2, 10, 100), (4, 11, 100)
RULES = Rules()


def busy_state():
    """Books with containers, rows, departed ones and a window that no meter has covered yet."""
    world, state, names = World(), State(7), Names()
    names.take_metadata(world.metadata((2, 4)))
    for tick in range(5):
        world.run(1, {A: 0.3, B: 0.2})
        state.take_activity(world.activity(), names)
        if tick == 2:
            world.end(B)
        if tick < 4:
            state.take_power(world.power(("package", "dram")), RULES)
            state.attribute(RULES)
    assert state.timeline.windows
    return state


def as_tables(state):
    return msgspec.to_builtins(energy_tables(state, RULES), enc_hook=list)


def test_what_is_committed_is_recovered():
    """A state survives its own document, pending windows and raw counters included."""
    state = busy_state()
    again = from_document(unpack(pack(to_document(state, "n", "b")), LedgerDocument))
    assert as_tables(again) == as_tables(state)
    assert pack(to_document(again, "n", "b")) == pack(to_document(state, "n", "b"))


@pytest.fixture
def ledger_path(tmp_path):
    ledger = LedgerFile(tmp_path / "ledger", "node-1", "boot-1")
    ledger.commit(State(1))
    ledger.commit(busy_state())
    ledger.close()
    return tmp_path / "ledger"


def test_a_ledger_is_recovered_from_its_file(ledger_path):
    """The newest committed state comes back."""
    state = LedgerFile(ledger_path, "node-1", "boot-1").recover(pytest.fail)
    assert state is not None
    assert as_tables(state) == as_tables(busy_state())


def test_no_ledger_is_no_error(tmp_path):
    """The first start finds nothing and says nothing."""
    assert LedgerFile(tmp_path / "ledger", "n", "b").recover(pytest.fail) is None


@pytest.mark.parametrize(
    ("node", "boot", "word"), [("node-2", "boot-1", "node"), ("node-1", "boot-2", "boot")]
)
def test_a_foreign_ledger_is_set_aside(ledger_path, node, boot, word):
    """A ledger of another node or boot is never trusted, never fatal, and never lost."""
    said = []
    assert LedgerFile(ledger_path, node, boot).recover(said.append) is None
    assert f"its {word} is" in said[0]
    assert not ledger_path.exists()
    assert ledger_path.with_name("ledger.refused").exists()


def test_books_that_do_not_close_are_set_aside(tmp_path):
    """A whole ledger whose sums contradict each other is refused with both figures."""
    document = to_document(busy_state(), "n", "b")
    document.zones.measured_uj[0] += 1
    writer = shared.SlotWriter(tmp_path / "ledger")
    writer.write(pack(document))
    writer.close()
    said = []
    assert LedgerFile(tmp_path / "ledger", "n", "b").recover(said.append) is None
    assert "as measured" in said[0]


def test_rubbish_is_set_aside(tmp_path):
    """A file of any other content is refused."""
    (tmp_path / "ledger").write_bytes(b"not a ledger" * 10)
    said = []
    assert LedgerFile(tmp_path / "ledger", "n", "b").recover(said.append) is None
    assert len(said) == 1
