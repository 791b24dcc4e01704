# SPDX-License-Identifier: Apache-2.0
"""The ledger: a state that can be committed again, or one line that says why it was set aside."""

from pathlib import Path
from random import Random

from services.calculator.ledger_file import LedgerFile
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.state import State
from tests.calculator.world import World
from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from tests.fuzz.structure import restructured, unpacked
from wattline.wire.codec import pack

from .slot_files import slot_file

NODE, BOOT = "node-1", "boot-1"
PROCESSES = ((2, 10, 100), (4, 11, 100), (5, 12, 90))


def state_after(ticks: int, zones: tuple[str, ...]) -> State:
    """Books with containers, ended processes and windows that no meter has covered yet."""
    world, state, names, rules = World(), State(7), Names(), Rules()
    names.take_metadata(world.metadata((2, 4, 5)))
    for tick in range(ticks):
        world.run(1, dict(zip(PROCESSES, (0.3, 0.2, 0.1), strict=True)))
        state.take_activity(world.activity(), names)
        if tick == 2:
            world.end(PROCESSES[1])
        if tick < ticks - 1:
            state.take_power(world.power(zones), rules)
            state.attribute(rules)
    return state


SEEDS = tuple(
    pack(to_document(state_after(ticks, zones), NODE, BOOT))
    for ticks, zones in ((0, ()), (1, ("package",)), (5, ("package", "dram")), (9, ("package", "platform")))
)
VALUES = tuple(unpacked(seed) for seed in SEEDS)


def make(chance: Random) -> bytes:
    """One more input: the payload is damaged, the file around it whole."""
    payload = mutated(chance, SEEDS) if chance.random() < 0.2 else restructured(chance, VALUES)
    return slot_file((2, payload), (1, SEEDS[0]))


def ledgers(place: Path) -> Decoder:
    path, again = place / "ledger", place / "again"

    def check(data: Input) -> None:
        assert isinstance(data, bytes)
        again.unlink(missing_ok=True)
        path.write_bytes(data)
        said: list[str] = []
        state = LedgerFile(path, NODE, BOOT).recover(said.append)
        if (state is None) != bool(said):
            raise BrokenPromiseError(f"recovered: {state is not None}, said: {said}")
        if state is None:
            return
        # What was accepted has to be kept as well, or each commit fails from now on.
        ledger = LedgerFile(again, NODE, BOOT)
        ledger.commit(state)
        ledger.close()
        if LedgerFile(again, NODE, BOOT).recover(said.append) is None:
            raise BrokenPromiseError(f"accepted, but not when it was committed again: {said}")

    return Decoder(make, check)
