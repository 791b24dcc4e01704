# SPDX-License-Identifier: Apache-2.0
"""A calculator killed at each step of a commit, and between commit and publication; others go on."""

import pytest

from services.calculator.loop import CalculatorStage
from services.calculator.settings import CalculatorSettings
from wattline.wire import shared
from wattline.wire.columns import U64

from .desk import Watch
from .paper import ROOT, Paper
from .runtime import runtime_of
from .world import S

TICKS = 6


class Killed(BaseException):
    """The process is no more."""


class Machine:
    """Streams that go on whatever becomes of the calculator, and the world that sees what it publishes."""

    def __init__(self, directory):
        self.paper = Paper(counts=False)
        self.paper.born(10, ROOT, "a" * 64)
        self.paper.born(11, ROOT, "b" * 64, "pod-1")
        self.paper.meter("package", "0", 20, per_cpu_s=8)
        self.paper.meter("platform", "0", 60, per_cpu_s=9, period_ns=3 * S)
        self.watch, self.shown, self.deaths = Watch(), [], 0
        self.ledger = directory / "ledger"
        self.steps_left = -1  # until it is killed; below 0: never
        self.stage = self.start()

    def start(self):
        runtime = runtime_of(self.paper, self.ledger, publish=self.publish)
        return CalculatorStage(CalculatorSettings(), runtime)

    def step(self):
        if self.steps_left == 0:
            self.steps_left = -1
            raise Killed
        self.steps_left -= 1

    def publish(self, _kind, **fields):
        self.step()
        self.watch.check(fields)
        self.shown.append([*fields["zones"].measured_uj])

    def send(self, *frames):
        """Frames arrive, and a tick; a calculator killed over it starts again with the last of each."""
        try:
            for frame in frames:
                self.stage.on_frame(frame)
            self.stage.on_tick(self.paper.now_ns)
        except Killed:
            self.deaths += 1
            self.stage = self.start()
            self.send(*self.last)

    def tick(self, number):
        work = {((10, 100, 7), 0): (0.5, 1, 1, 0), ((11, 200 + number, 7), 0): (0.25, 1, 1, 0)}
        self.paper.run(S, work)
        self.last = (self.paper.metadata(), self.paper.activity(), self.paper.power())
        self.send(*self.last)
        self.paper.end((11, 200 + number, 7))


@pytest.fixture
def store(monkeypatch):
    """Writing to the ledger, a step each time."""
    machines = []
    write = shared.SlotWriter._store

    def stepped(writer, offset, data):
        for machine in machines:
            machine.step()
        write(writer, offset, data)

    monkeypatch.setattr(shared.SlotWriter, "_store", stepped)
    return machines


def run(directory, store, steps):
    directory.mkdir()
    machine = Machine(directory)
    store[:] = [machine]
    for number in range(TICKS):
        if number == TICKS // 2:
            machine.steps_left = steps
        machine.tick(number)
    store.clear()
    return machine


def test_killed_at_any_step_nothing_is_lost_and_nothing_falls(tmp_path, store):
    """At every write of a commit, between commit and publication, and at the start after it."""
    untouched = run(tmp_path / "untouched", store, -1)
    steps = 0
    while True:
        machine = run(tmp_path / str(steps), store, steps)
        if not machine.deaths:
            break
        assert machine.deaths == 1
        assert machine.shown[-1] == untouched.shown[-1]
        left = {
            reason: energy_uj
            for (_zone, _mode, reason), energy_uj in machine.stage._state.accounts.unattributed_uj.items()
            if reason not in ("idle_policy", "no_activity")
        }
        assert left == {}
        steps += 1
    print(f"killed at {steps} steps, one after the other")
    assert steps > 10


def test_killed_again_and_again(tmp_path, store):
    """A calculator that dies at the same step of every commit still loses nothing, once it is let live."""
    for steps in range(8):
        machine = run(tmp_path / str(steps), store, steps)
        store[:] = [machine]
        for number in range(TICKS, 2 * TICKS):
            machine.steps_left = steps
            machine.tick(number)
        store.clear()
        machine.steps_left = -1
        machine.tick(2 * TICKS)
        shown = machine.shown[-1][0]
        assert shown == machine.paper.meters[0].energy_nj // 1000


def test_numbers_that_no_machine_reaches_are_refused(tmp_path):
    """A counter from 2⁶³ on is counted as an error, and the books go on with the next frame."""
    machine = Machine(tmp_path)
    counted = []
    machine.stage._runtime.count = lambda event, *_words: counted.append(event)
    machine.tick(0)
    machine.paper.run(S, {((10, 100, 7), 0): (0.5, 1, 1, 0)})
    broken = machine.paper.activity()
    broken.processes.cpu_ns = U64([2**63] * len(broken.processes))
    machine.last = (machine.paper.metadata(), broken, machine.paper.power())
    machine.send(*machine.last)
    machine.tick(1)
    assert counted == ["impossible_activity"]
    assert machine.shown[-1][0] == machine.paper.meters[0].energy_nj // 1000
