# SPDX-License-Identifier: Apache-2.0
"""Zones that appear, end and return while the others go on."""

import msgspec
import pytest

from services.calculator import zones as zones_of_books
from services.calculator.partition import ENDED_AFTER
from services.calculator.rules import MODEL, Rules
from wattline.wire.columns import U64
from wattline.wire.frames import AbsentZones

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S

A = "a" * 64
PROCESS = (10, 100, 7)
PACKAGE_W, SOCKET_W = 20, 30
NEVER_NS = 10**18
EARLY_NS = S // 4  # so much earlier than the activity the meters are read


class Node:
    """A machine with a package, and a second one that is there only sometimes."""

    def __init__(self, rules=None):
        self.machine = Paper(counts=False)
        self.machine.born(10, ROOT, A)
        self.machine.meter("package", "0", PACKAGE_W)
        self.machine.meter("package", "1", SOCKET_W)
        self.second_one = self.machine.meters[1]
        self.second_one.is_present = False
        self.epochs = {}
        self.absent = []  # indexes of packages whose row is only repeated
        self.desk = Desk(rules or Rules(), Watch().check)

    def seconds(self, count):
        """Meters are read a quarter of a second before the activity."""
        for _second in range(count):
            self.machine.run(S - EARLY_NS, {(PROCESS, 0): (0.4, 1, 1, 0)})
            self.second_one.period_ns = NEVER_NS if self.absent else 0
            power = self.machine.power()
            self.machine.run(EARLY_NS, {(PROCESS, 0): (0.1, 1, 1, 0)})
            zones = power.zones
            own = U64(self.epochs.get(index, 0) for index in zones.index)
            zones = msgspec.structs.replace(zones, epoch=own)
            for frame in (
                self.machine.metadata(),
                self.machine.activity(),
                msgspec.structs.replace(power, zones=zones, absent=self._absent_zones()),
            ):
                self.desk.take(frame)

    def _absent_zones(self):
        return AbsentZones(
            source=[self.second_one.source for _index in self.absent],
            zone=["package" for _index in self.absent],
            index=self.absent,
            why=["unreadable" for _index in self.absent],
            reason=["Input/output error" for _index in self.absent],
        )

    def appear(self):
        """The second package begins to count, in an epoch of its own."""
        self.second_one.is_present = True
        self.second_one.energy_nj = 0
        self.epochs["1"] = self.machine.now_ns

    def zone(self, index):
        return self.desk.zone("package", index)


def test_a_zone_that_appears_has_an_epoch_of_its_own():
    """It counts from there, and no other zone has a gap."""
    node = Node()
    node.seconds(5)
    node.appear()
    node.seconds(5)
    first, second = node.zone("0"), node.zone("1")
    assert (first.meter.gaps, second.meter.gaps) == (0, 0)
    assert first.meter.epoch == 1000 * S
    assert second.meter.epoch == 1005 * S
    assert second.measured_uj == (second.meter.watermark_ns - second.meter.epoch) * SOCKET_W // 1000


def test_the_last_part_of_an_ended_zone_is_given_to_its_users():
    """Its last reading lies amid a window that no later reading closes."""
    node = Node()
    node.appear()
    node.seconds(5)
    read_ns, total_uj = node.second_one.shown
    node.second_one.is_present = False
    node.seconds(ENDED_AFTER - 1)
    assert node.zone("1").measured_uj < total_uj
    node.seconds(1)
    ended = node.zone("1")
    assert (ended.measured_uj, ended.meter.watermark_ns, ended.meter.points) == (total_uj, read_ns, [])
    given_uj = node.desk.dynamic_uj("package", "1")
    left_uj = ended.measured_uj - sum(given_uj.values())
    assert set(given_uj) == {A}
    assert left_uj == ended.idle_uj
    node.seconds(3)
    assert node.zone("1").measured_uj == total_uj


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize("away_s", [1, ENDED_AFTER - 1, ENDED_AFTER, 20])
def test_a_zone_that_returns_in_its_epoch_has_the_energy_of_the_meantime(away_s, is_killed):
    """However long it was away, in sum nothing is missing and nothing is counted twice."""
    node = Node()
    node.appear()
    begun_ns = node.machine.now_ns
    node.seconds(5)
    node.second_one.is_present = False
    node.seconds(away_s)
    if is_killed:
        node.desk.kill(node.machine.metadata())
    node.second_one.is_present = True
    node.seconds(3)
    back = node.zone("1")
    assert back.measured_uj == (back.meter.watermark_ns - begun_ns) * SOCKET_W // 1000
    assert back.meter.gaps == 0


def test_a_zone_that_begins_again_has_a_gap_alone():
    """A later epoch of one zone ends what it counted before, and nothing of the others."""
    node = Node()
    node.appear()
    node.seconds(5)
    before_uj = node.second_one.shown[1]
    node.second_one.is_present = False
    node.seconds(ENDED_AFTER)
    node.appear()
    node.seconds(5)
    first, second = node.zone("0"), node.zone("1")
    assert (first.meter.gaps, second.meter.gaps) == (0, 1)
    counted_ns = second.meter.watermark_ns - node.epochs["1"]
    assert second.measured_uj == before_uj + counted_ns * SOCKET_W // 1000


@pytest.mark.parametrize("energy_uj", [0, 5])
def test_a_reading_from_before_its_epoch_stops_nothing(energy_uj):
    """A foreign stage may send one: it is refused unless it says nothing, and the books go on as without."""
    totals = []
    for is_sent in (False, True):
        node = Node()
        node.seconds(4)
        if is_sent:
            power = node.machine.power()
            zones = msgspec.structs.replace(
                power.zones,
                epoch=U64([power.mono_ns]),
                mono_ns=U64([power.mono_ns - 300_000_000]),
                energy_uj=U64([energy_uj]),
            )
            refused = node.desk.state.take_power(msgspec.structs.replace(power, zones=zones), Rules())
            assert refused == bool(energy_uj)
        node.seconds(6)
        totals.append(node.zone("0").measured_uj)
    assert totals[0] == totals[1]


def test_a_part_of_a_window_teaches_no_model(monkeypatch):
    """When a zone ends, its last energy belongs to less time than the use beside it."""
    learned = []
    monkeypatch.setattr(zones_of_books, "learn", lambda model, *_window: learned.append(model))
    node = Node(Rules(method=MODEL))
    node.appear()
    node.seconds(4)
    model = node.zone("1").power_model
    times = sum(one is model for one in learned)
    assert times
    node.second_one.is_present = False
    node.seconds(ENDED_AFTER + 3)
    assert not node.zone("1").meter.points
    assert sum(one is model for one in learned) == times


def is_listed(node):
    zones = node.desk.tables()["zones"]
    return dict(zip(zones.index, zones.is_listed, strict=True))


def test_a_row_that_is_repeated_for_an_absent_zone_is_none():
    """A zone that can't be read ends as one without a row does; its energy of the meantime comes later."""
    node = Node()
    node.appear()
    begun_ns = node.machine.now_ns
    node.seconds(5)
    _read_ns, total_uj = node.second_one.shown
    node.absent = ["1"]
    node.seconds(ENDED_AFTER - 1)
    assert node.zone("1").measured_uj < total_uj
    assert is_listed(node) == {"0": 1, "1": 0}
    node.seconds(1)
    assert (node.zone("1").measured_uj, node.zone("1").meter.points) == (total_uj, [])
    node.absent = []
    node.seconds(3)
    back = node.zone("1")
    assert is_listed(node) == {"0": 1, "1": 1}
    assert back.measured_uj == (back.meter.watermark_ns - begun_ns) * SOCKET_W // 1000
    assert back.meter.gaps == 0
