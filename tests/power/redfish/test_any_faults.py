# SPDX-License-Identifier: Apache-2.0
"""Any faults in any order: energy is never above the law's, never falls, and all is well in the end."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ..world import Clock
from .bmc import Bmc
from .server import BODIES, FIGURES
from .test_faults import KWH_STEP_UJ, LAW, law_uj
from .world import PERIOD_S, Rounds, S

# Without those for which one has to wait by the real clock.
QUICK = ("", "401", "403", "404", "500", "503", "gone", "missing", "redirect-away", "redirect-here", "stale")
EVENTS = st.sampled_from((*QUICK, *FIGURES, *sorted(BODIES), "reboot", "expire", "clock"))
LAYOUTS = st.sampled_from(
    ["environment", "environment-energy", "supplies", "sensors", "sensors-energy", "power"]
)


# A figure that is lower than the counter: the next right one looked like energy.
@example(layout="sensors-energy", events=[("sentinel", 1)], period_s=PERIOD_S)
@example(layout="sensors-energy", events=[("sentinel", 4)], period_s=PERIOD_S)
@settings(max_examples=20)
@given(LAYOUTS, st.lists(st.tuples(EVENTS, st.integers(1, 4)), max_size=6), st.sampled_from([PERIOD_S, 3.0]))
def test_any_faults_in_any_order(authority, layout, events, period_s):
    """With a connection for each round, and with one that is kept.

    One second of the highest power is allowed for, where a sensor is placed by a Date of whole seconds.
    """
    clock = Clock()
    with (
        Bmc(authority, layout, LAW, now_ns=clock.monotonic_ns, digits=3) as bmc,
        Rounds(bmc, clock, redfish_period_s=period_s) as source,
    ):
        energy_uj = 0
        for event, rounds in [("", 3), *events, ("", 14)]:
            bmc.fault = event if event not in ("reboot", "expire", "clock") else ""
            if event == "reboot":
                bmc.down()
                source.round()
                bmc.up()
            elif event == "expire":
                bmc.sessions.clear()
            elif event == "clock":
                bmc.offset_ns += 3600 * S
            for _round in range(rounds):
                readings = source.round()
                for row in readings.rows:
                    allowed_uj = law_uj(bmc, row) + row.integration_uj + KWH_STEP_UJ + 400_000_000
                    assert energy_uj <= row.energy_uj <= allowed_uj
                    energy_uj = row.energy_uj
        assert readings.state.up, readings.state.reason
        assert bmc.most_sessions <= 1
    assert bmc.sessions == {}
