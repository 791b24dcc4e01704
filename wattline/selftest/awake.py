# SPDX-License-Identifier: Apache-2.0
"""How long each CPU has been awake: time passed less the idle time that the kernel counts. Pure.

The kernel stamps the beginning and the end of idling, so this is wall time, stolen time included, in which no
sleeper between two ticks is missed (kernel/time/tick-sched.c, Linux 6.1); it is shown in steps of 10 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class _Cpu:
    at_ns: int
    idle_ns: int
    raw_ns: int = 0  # may fall for a moment, since idle time comes in steps
    awake_ns: int = 0


class Awake:
    """Awake ns by CPU since the first reading; never falls, and is never ahead by more than a step."""

    def __init__(self) -> None:
        self._cpus: dict[int, _Cpu] = {}
        self._present: set[int] = set()

    def observe(self, now_ns: int, idle_ns: Mapping[int, int]) -> dict[int, int]:
        """Take a reading of idle time by CPU. One that is off is in none, and is not awake meanwhile."""
        for number, ns in idle_ns.items():
            cpu = self._cpus.setdefault(number, _Cpu(now_ns, ns))
            if number in self._present:
                cpu.raw_ns += (now_ns - cpu.at_ns) - (ns - cpu.idle_ns)
                cpu.awake_ns = max(cpu.awake_ns, cpu.raw_ns)
            cpu.at_ns, cpu.idle_ns = now_ns, ns
        self._present = set(idle_ns)
        return {number: cpu.awake_ns for number, cpu in self._cpus.items()}
