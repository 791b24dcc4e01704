# SPDX-License-Identifier: Apache-2.0
"""What a BMC can do wrong: what is said, after how long, when it is over; no energy is made of it."""

from typing import NamedTuple

import pytest

from .law import Law
from .world import Rounds, S

LAW = Law(low_uw=150_000_000, swing_uw=200_000_000, half_ns=7 * 60 * S)
KWH_STEP_UJ = 3_600_000_000
QUICK = {"redfish_timeout_s": 0.4}  # where a BMC lets us wait


def limit(fault):
    return QUICK if fault.fault in ("hang", "drip") else {}


class Fault(NamedTuple):
    """`said`: words of the reason. `rounds`: after how many it is said. `back`: how many it lasts on."""

    fault: str
    said: str
    rounds: int = 1
    back: int = 1


# docs/redfish.md has this table for people.
FAULTS = (
    Fault("hang", "no answer within 0.4 s"),
    Fault("drip", "no answer within 0.4 s"),
    Fault("redirect-away", "redirects to another place"),
    Fault("401", "HTTP 401: the BMC refuses user or password", back=5),
    Fault("403", "HTTP 403: the account may not read this"),
    Fault("404", "HTTP 404: the BMC has no such resource"),
    Fault("gone", "HTTP 404: the BMC has no such resource"),
    Fault("500", "HTTP 500: the BMC can't answer now"),
    Fault("503", "HTTP 503: the BMC can't answer now"),
    Fault("418", "HTTP 418: unexpected"),
    Fault("invalid", "expected JSON, got something else"),
    Fault("nan", "expected JSON, got something else"),
    Fault("empty", "expected JSON, got something else"),
    Fault("binary", "expected JSON"),
    Fault("list", "expected a JSON object, got list"),
    Fault("deep", "nested too deep"),
    Fault("huge", "expected at most 524288 bytes, got more"),
    Fault("negative", "expected a number from 0 to 10^15, got -1"),
    Fault("null", "got null"),
    Fault("missing", "got null"),
    Fault("string", "expected a number, got '212'"),
    Fault("bool", "expected a number, got True"),
    Fault("nested", "expected a number, got {"),
    Fault("stale", "hasn't changed for more than 45 s", rounds=2),
)
GAUGE_FAULTS = (
    *FAULTS,
    Fault("absurd", "expected power from 0 to 20000 W"),
    Fault("sentinel", "expected power from 0 to 20000 W"),
)
COUNTER_FAULTS = (*(one for one in FAULTS if one.fault != "stale"),)


def checked(source, bmc, fault, *, tolerance_uj):
    """Five good rounds, the fault for two rounds beyond its being said, and two good rounds at its end."""
    (before,) = source.rounds(4).rows
    bmc.fault = fault.fault
    for number in range(fault.rounds + 2):
        readings = source.round()
        for row in readings.rows:
            assert row.energy_uj <= law_uj(bmc, row) + row.integration_uj + tolerance_uj
        if number >= fault.rounds - 1:
            assert not readings.state.up
            assert fault.said in readings.state.reason or number >= fault.rounds
    bmc.fault = ""
    for _round in range(fault.back):
        readings = source.round()
    assert readings.state.up, readings.state.reason
    after = source.round().rows[0]
    assert after.epoch == before.epoch
    assert after.mono_ns > before.mono_ns
    return after


def law_uj(bmc, row):
    return bmc.law.energy_uj(row.mono_ns) - bmc.law.energy_uj(row.epoch)


@pytest.mark.parametrize("fault", GAUGE_FAULTS, ids=lambda fault: fault.fault)
def test_a_powers_faults(bmc, clock, fault):
    """Said within two periods, over by itself, and energy never above the law's.

    A pause of more than three periods is a gap, whose energy is not counted; a shorter one is bridged.
    """
    bmc.law, bmc.digits = LAW, 3
    with Rounds(bmc, clock, **limit(fault)) as source:
        row = checked(source, bmc, fault, tolerance_uj=10_000_000)
        assert row.gaps == 1  # four periods without a reading
        assert row.energy_uj < law_uj(bmc, row)
    assert bmc.most_sessions == 1
    assert bmc.sessions == {}
    assert fault.rounds <= 2


@pytest.mark.parametrize("fault", COUNTER_FAULTS, ids=lambda fault: fault.fault)
def test_a_counters_faults(bmc, clock, fault):
    """Said within two periods, over by itself, and nothing lost: the counter has it all."""
    bmc.layout, bmc.law = "environment-energy", LAW
    with Rounds(bmc, clock, **limit(fault)) as source:
        row = checked(source, bmc, fault, tolerance_uj=KWH_STEP_UJ)
        assert row.gaps == 0
        assert abs(row.energy_uj - law_uj(bmc, row)) <= KWH_STEP_UJ
    assert bmc.most_sessions == 1


def test_one_missing_answer_is_bridged(bmc, clock):
    """By a straight line, with its error stated; up to three periods."""
    bmc.law, bmc.digits = LAW, 3
    with Rounds(bmc, clock) as source:
        source.rounds(5)
        bmc.fault = "500"
        source.rounds(2)
        bmc.fault = ""
        (row,) = source.rounds(2).rows
    assert row.gaps == 0
    assert abs(row.energy_uj - law_uj(bmc, row)) <= row.integration_uj + 10_000_000
