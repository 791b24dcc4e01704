# SPDX-License-Identifier: Apache-2.0
"""The clock of slots: calculators that are killed, short intervals, streams that are renamed."""

import pytest

from services.calculator.candidate import Described
from services.calculator.slots import AWAY_PERIODS, STREAMS_MAX, Slots, period_ns

from .meters import HUNG, MS, House, Meter
from .world import S


def test_a_calculator_that_is_killed_each_second_misses_an_owner_too():
    """The time since the last one's newest frame counts, up to a second."""
    house = House([Meter("platform", "0", "redfish"), Meter("platform", "1", "acpi", "power-bmc", rank=3)])
    house.seconds(5)
    house.meter("redfish").state = HUNG
    for _second in range(AWAY_PERIODS + 3):
        house.seconds(1)
        house.kill()
        house.look()
    assert house.owner() == ["acpi"]
    assert house.holes() == []


@pytest.mark.parametrize("interval_ns", [100 * MS, 250 * MS, S])
def test_a_stall_of_some_seconds_changes_no_owner(interval_ns):
    """A period is at least a second, also of frames that come more often: a busy machine holds them up."""
    slots = Slots()
    slots.hear("power", 100 * S, interval_ns)
    owner = slots.add(("package", "0", "rapl"), "power")
    owner.row = Described(period_ns=period_ns(0, interval_ns))
    slots.advance(104 * S)
    assert not slots.is_away(owner)
    slots.hear("power-b", 107 * S, interval_ns)
    assert slots.is_away(owner)


def test_streams_that_have_ended_make_room():
    """A stream that is renamed again and again is heard each time."""
    slots = Slots()
    for number in range(3 * STREAMS_MAX):
        for second in range(70):
            assert slots.hear(f"power-{number}", (number * 70 + second + 1) * S, S)
