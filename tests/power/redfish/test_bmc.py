# SPDX-License-Identifier: Apache-2.0
"""The fake BMC itself: its law, and its use by other programs."""

import itertools
import json
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from services.power import redfish
from services.power.settings import PowerSettings
from services.power.source import Former

from .law import Law, S


@given(st.integers(0, 10**6), st.integers(1, 5 * S), st.integers(0, 400_000_000))
def test_energy_is_the_integral_of_power(begin_ms, length_ns, swing_uw):
    """By Simpson's rule, which is exact on each straight line."""
    law = Law(150_000_000, swing_uw, 7 * S)
    begin_ns = begin_ms * 10**6
    bends = [turn for turn in range(0, begin_ns + length_ns, 7 * S) if turn > begin_ns]
    points = [begin_ns, *bends, begin_ns + length_ns]
    found_uj = sum(
        (law.power_uw(left) + 4 * law.power_uw((left + right) // 2) + law.power_uw(right))
        * (right - left)
        / 6e9
        for left, right in itertools.pairwise(points)
    )
    assert abs(law.energy_uj(begin_ns + length_ns) - law.energy_uj(begin_ns) - found_uj) <= 10


def test_as_a_program(tmp_path):
    """It says where it is, obeys lines, and ends with its input; here with real time and a short period."""
    command = [sys.executable, "-m", "tests.power.redfish.bmc", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        ready = json.loads(program.stdout.readline())
        settings = PowerSettings(
            redfish_url=ready["url"],
            redfish_ca_file=ready["ca_file"],
            redfish_credentials_file=ready["credentials_file"],
            redfish_period_s=0.2,
            redfish_timeout_s=5.0,
        )
        source = redfish.open_source(settings, Former(), time.monotonic_ns())
        states = []
        for line in ("", "fault 500", "fault", "expire"):
            print(line, file=program.stdin, flush=True)
            until_s = time.monotonic() + 10
            wanted = line != "fault 500"
            while (
                state := source.read(time.monotonic_ns()).state
            ).up != wanted and time.monotonic() < until_s:
                time.sleep(0.05)
            states.append(state.up)
        source.close()
        program.communicate("exit\n", timeout=10)
    assert states == [True, False, True, True]
    assert program.returncode == 0
