# SPDX-License-Identifier: Apache-2.0
"""The machine with every kind of meter (every_meter_tree.py) in a process of its own."""

import subprocess
import sys
from pathlib import Path

from wattline.selftest.simulated_rapl import SimulatedRapl

from .every_meter_tree import HALF_NS, PLATFORM


def ipmi_bmc(directory: Path) -> Path:
    """A library that answers IPMI in the processes that preload it; its law is the platform's."""
    library = directory / "ipmi_bmc.so"
    law = [f"-DLOW_W={PLATFORM.low_uw // 10**6}", f"-DSWING_W={PLATFORM.swing_uw // 10**6}LL"]
    source = Path(__file__).with_name("ipmi_bmc.c")
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", *law, f"-DHALF_NS={HALF_NS}LL"]
    subprocess.run([*command, "-o", library, source], check=True)
    return library


class EveryMeter(SimulatedRapl):
    """Such a tree, from `with` to its end. `fail`, `heal`, `hide` and `show` take the beginning of a path."""

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.machine.every_meter_tree", str(self.sysfs)]
