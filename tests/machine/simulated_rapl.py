# SPDX-License-Identifier: Apache-2.0
"""The simulated machine, as the installed package has it: wattline/selftest/tree.py says what it presents."""

from wattline.selftest.simulated_rapl import SimulatedRapl, is_mounted

__all__ = ["SimulatedRapl", "is_mounted"]
