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
        self.chance = chance = random.Random(seed)
        zone = chance.choice(("platform", "package"))
        self.house = House(
            [
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
            ],
        )

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


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_streams_do_each_instant_is_counted_once(seed):
    """Σ of all series = truth less stated gaps; no series falls; residual 0 in each frame."""
    trouble = Trouble(seed)
    for _tick in range(80):
        trouble.tick()
    trouble.check()


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_many_houses():
    """The same for two thousand machines."""
    changes = 0
    for seed in range(2000):
        trouble = Trouble(seed)
        for _tick in range(120):
            trouble.tick()
        trouble.check()
        changes += len(trouble.house.changes)
    print(f"{changes} changes of owner")
    assert changes > 1000
