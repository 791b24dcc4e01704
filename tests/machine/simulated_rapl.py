# SPDX-License-Identifier: Apache-2.0
"""The simulated machine, as the installed package has it: wattline/selftest/tree.py says what it presents."""

from wattline.selftest.simulated_rapl import SimulatedRapl, is_mounted

__all__ = ["IDLE_POWER", "SimulatedRapl", "is_mounted"]

# The setting that tells what its zones use when nothing runs, where a test leaves them as they are.
IDLE_POWER = "package=20,core=6,dram=4"
