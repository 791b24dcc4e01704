# SPDX-License-Identifier: Apache-2.0
"""Streams that come, hang, die, return and begin anew, and a calculator that is killed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .meters import ABSENT, GONE, GOOD, HUNG, MS, House, Meter
from .world import S

STREAMS = ("power", "power-a", "power-b")


class Trouble:
    """A house in which anything happens, and what must hold of it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.house = House(self.meters())

    def meters(self):
        chance = self.chance
        zone = chance.choice(("platform", "package"))
        return [
            Meter(
                zone,
                "0" if zone == "package" else f"of-{number}",
                f"source-{number}",
                chance.choice(STREAMS),
                rank=chance.choice((0, number, 7 - number)),
                period_ns=chance.choice((0, 0, 3 * S)),
                late_ns=chance.choice((0, 0, 2500 * MS)),
                provenance=chance.choice(("measured", "measured", "estimated")),
                power_uw=50_000_000,
            )
            for number in range(chance.choice((1, 2, 2, 3, 4)))
        ]

    def tick(self):
        house, chance = self.house, self.chance
        house.step_ns = chance.choice((S, S, S, 100 * MS, 2 * S))
        house.step()
        who = chance.choice(house.meters)
        what = chance.random()
        if what < 0.15:
            who.state = chance.choice((GOOD, GOOD, GOOD, HUNG, ABSENT, GONE))
        elif what < 0.2:
            house.dead ^= {who.stream}
        elif what < 0.23:
            who.begin(house.now_ns)
        elif what < 0.28:
            house.kill()
            house.look()

    def check(self):
        """Covered once (each step looks at that); each hole is stated, and ends where a count began."""
        house = self.house
        stretches = house.stretches()
        if not stretches:
            return
        elapsed_ns = max(end_ns for _start_ns, end_ns, _name in stretches) - house.begun_ns
        holes = house.holes()
        missing_ns = sum(end_ns - start_ns for start_ns, end_ns, _name in holes)
        assert house.total_uj() == (elapsed_ns - missing_ns) // 1000 * 50
        assert len(holes) <= house.gaps()
        begun = {epoch for _name, epoch in house.firsts} | {*house.firsts.values()}
        assert begun.issuperset(end_ns for _start_ns, end_ns, _name in holes)


class TroubleOfSockets(Trouble):
    """Sources of both sockets, of one of them, and of the whole node; their ranks change too."""

    def meters(self):
        chance, meters = self.chance, []
        for number in range(chance.choice((2, 3, 4))):
            indexes = chance.choice((("0", "1"), ("0", "1"), ("0",), ("1",), ("node",)))
            each = {
                "stream": chance.choice(STREAMS),
                "rank": chance.choice((0, number, 5 - number)),
                "period_ns": chance.choice((0, 0, 3 * S)),
                "late_ns": chance.choice((0, 0, 2500 * MS)),
                "power_uw": 50_000_000 if indexes == ("node",) else 25_000_000,
            }
            meters += [Meter("package", index, f"source-{number}", **each) for index in indexes]
        return meters

    def tick(self):
        super().tick()
        if self.chance.random() < 0.03:
            self.chance.choice(self.house.meters).rank = self.chance.choice((0, 1, 2, 3))

    def check(self):
        """Covered once (each step looks at that); at most the truth; at last each owner is counted."""
        house = self.house
        assert house.total_uj() <= (house.now_ns - house.begun_ns) // 1000 * 50
        house.dead, house.step_ns = set(), S
        for meter in house.meters:
            meter.state = GOOD
        house.seconds(40)
        owners = list(house.desk.state.zones.slots.owners())
        assert owners
        assert all(one.is_counted for one in owners)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_sockets_do_no_energy_is_counted_twice(seed):
    """One dies and the other one doesn't, a whole node's row beside them: Σ is at most the truth."""
    trouble = TroubleOfSockets(seed)
    for _tick in range(80):
        trouble.tick()
    trouble.check()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_streams_do_each_instant_is_counted_once(seed):
    """Σ of all series = truth less stated gaps; no series falls; residual 0 in each frame."""
    trouble = Trouble(seed)
    for _tick in range(80):
        trouble.tick()
    trouble.check()


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(150, marks=[pytest.mark.e2e, pytest.mark.timeout(600)]),
        pytest.param(3000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_many_houses(count):
    """The same for some hundred or thousand machines."""
    changes = 0
    for seed in range(count):
        trouble = Trouble(seed)
        for _tick in range(120):
            trouble.tick()
        trouble.check()
        changes += len(trouble.house.changes)
    assert changes > count
