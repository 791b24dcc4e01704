# SPDX-License-Identifier: Apache-2.0
"""The machine with every kind of meter (every_meter_tree.py) in a process of its own."""

import sys

from wattline.selftest.simulated_rapl import SimulatedRapl


class EveryMeter(SimulatedRapl):
    """Such a tree, from `with` to its end. `fail`, `heal`, `hide` and `show` take the beginning of a path."""

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.machine.every_meter_tree", str(self.sysfs)]
