# SPDX-License-Identifier: Apache-2.0
"""Frames that no machine can mean: refused, and the books go on with the next good one."""

import pytest

from services.calculator.columns import ImpossibleError
from services.calculator.rules import Rules
from wattline.wire.columns import U32, U64

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S

A = "a" * 64
PROCESS = (10, 100, 7)


class Absurd:
    """A well-behaved machine, whose frames a test breaks."""

    def __init__(self):
        self.machine = Paper(counts=False)
        self.machine.born(10, ROOT, A)
        self.machine.meter("package", "0", 20, per_cpu_s=9)
        self.machine.meter("platform", "0", 50, per_cpu_s=12)
        self.desk = Desk(Rules(), Watch().check)

    def second(self, break_activity=None, break_power=None):
        self.machine.run(S, {(PROCESS, 0): (0.5, 1, 1, 0)})
        activity, power = self.machine.activity(), self.machine.power()
        if break_activity:
            break_activity(activity)
        if break_power:
            break_power(power)
        self.desk.names.take_metadata(self.machine.metadata())
        self.desk.state.take_activity(activity, self.desk.names)
        refused = self.desk.state.take_power(power, self.desk.rules)
        self.desk.state.attribute(self.desk.rules)
        self.desk.ledger = self.desk.commit()
        self.desk.kill()
        self.desk.show(self.desk.tables())
        return refused

    def goes_on(self):
        for _second in range(3):
            self.second()
        truth_uj = self.machine.meters[0].energy_nj // 1000
        assert self.desk.zone("package").measured_uj == truth_uj


def set_column(table, column, value):
    def change(frame):
        rows = len(getattr(frame, table))
        setattr(getattr(frame, table), column, U64([value] * rows))

    return change


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 2**62])
@pytest.mark.parametrize(
    ("table", "column"), [("cgroups", "cpu_ns"), ("processes", "cpu_ns"), ("cpus", "lost_ns")]
)
def test_counters_beyond_reason_change_nothing(table, column, value):
    """Such a frame is refused as a whole; what it would have told is in the next one."""
    absurd = Absurd()
    absurd.second()
    before = absurd.desk.commit()
    with pytest.raises(ImpossibleError, match="expected"):
        absurd.second(break_activity=set_column(table, column, value))
    assert absurd.desk.commit() == before
    absurd.goes_on()


@pytest.mark.parametrize("table", ["cgroups", "processes"])
def test_ids_beyond_reason_change_nothing(table):
    """A cgroup id that no kernel gives is refused before any account is opened for it."""
    absurd = Absurd()
    absurd.second()
    before = absurd.desk.commit()
    with pytest.raises(ImpossibleError, match="expected"):
        absurd.second(break_activity=set_column(table, "cgroup_id", 2**63))
    assert absurd.desk.commit() == before
    absurd.goes_on()


@pytest.mark.parametrize("value", [2**62, 2**63, 2**64 - 1])
def test_energies_beyond_reason_are_refused(value):
    """No meter counts a gigawatt: neither the zone nor `other` believes it."""
    absurd = Absurd()
    absurd.second()
    assert absurd.second(break_power=set_column("zones", "energy_uj", value)) == 2
    absurd.goes_on()
    zones = absurd.desk.tables()["zones"]
    assert max(zones.disagreement_uj) < 10**9


def test_readings_of_the_future_are_refused():
    """A zone's reading later than its frame would stop the zone until then."""
    absurd = Absurd()
    absurd.second()
    assert absurd.second(break_power=set_column("zones", "mono_ns", 2**62)) == 2
    absurd.goes_on()


def test_gaps_that_begin_again_do_not_fall():
    """A publisher counts its gaps from its epoch; the sum over all epochs is shown, within 32 bits."""
    absurd = Absurd()

    def told(count):
        return lambda frame: setattr(frame.zones, "gaps", U32([count] * len(frame.zones)))

    shown = []
    for count, restarts in ((5, False), (5, False), (1, True), (2, False), (2**32 - 1, False)):
        if restarts:
            absurd.machine.restart_power()
        absurd.second(break_power=told(count))
        shown.append(absurd.desk.tables()["zones"].gaps[0])
    assert shown == [5, 5, 7, 8, 2**32 - 1]  # one more for the energy between the two epochs


def test_activity_of_an_older_epoch_is_refused():
    """What a stale probe still says is not counted a second time."""
    absurd = Absurd()
    for _second in range(3):
        absurd.second()
    used_ns = sum(absurd.desk.tables()["containers"].cpu_ns)
    absurd.machine.run(S, {(PROCESS, 0): (0.5, 1, 1, 0)})
    stale = absurd.machine.activity()
    stale.epoch -= S
    with pytest.raises(ImpossibleError, match="older than"):
        absurd.desk.state.take_activity(stale, absurd.desk.names)
    assert sum(absurd.desk.tables()["containers"].cpu_ns) == used_ns


def test_sockets_of_cpus_alone_tell_nothing():
    """Where rows tell no socket, zones go by all use."""
    absurd = Absurd()

    def cpus_only(frame):
        frame.cgroups.socket, frame.processes.socket = U32(), U32()

    for _second in range(5):
        absurd.second(break_activity=cpus_only)
    assert absurd.desk.dynamic_uj("package")[A] > 0
