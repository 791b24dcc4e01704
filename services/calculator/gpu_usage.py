# SPDX-License-Identifier: Apache-2.0
"""From cumulative GPU use in power frames to windows of use, each GPU on its own clock. Pure.

Formula 2 in docs/attribution.md, once more: the row with pid 0 has what unlisted processes used, so what it
gains beyond what was seen of those that have gone is new.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.wire.frames import Power

Process = tuple[int, int]  # pid, start in clock ticks
UNLISTED: Process = (0, 0)


class GpuWindow(NamedTuple):
    """Who kept a GPU busy for how long between two of its readings."""

    gpu: str
    start_ns: int
    end_ns: int
    busy_ns: dict[Process, int]


@dataclass
class GpuBook:
    """The last raw counters of each GPU, and when they were read."""

    epoch: int = 0
    read_ns: dict[str, int] = field(default_factory=dict)
    raw: dict[str, dict[Process, int]] = field(default_factory=dict)

    def advance(self, power: Power) -> Iterator[GpuWindow]:
        """The windows that end with this frame's readings."""
        if power.epoch != self.epoch:
            self.epoch, self.read_ns, self.raw = power.epoch, {}, {}
        now: dict[str, dict[Process, int]] = {}
        use = power.gpu_use
        for index, pid, start, busy_ns in zip(use.index, use.pid, use.start_ticks, use.busy_ns, strict=True):
            of_gpu = now.setdefault(index, {})
            of_gpu[pid, start] = of_gpu.get((pid, start), 0) + busy_ns
        for zone, index, mono_ns in zip(
            power.zones.zone, power.zones.index, power.zones.mono_ns, strict=True
        ):
            if zone != "gpu" or mono_ns <= self.read_ns.get(index, power.epoch):
                continue
            start_ns = self.read_ns.get(index, power.epoch)
            before, current = self.raw.get(index, {}), now.get(index, {})
            self.read_ns[index], self.raw[index] = mono_ns, current
            yield GpuWindow(index, start_ns, mono_ns, _growth(before, current))


def _growth(before: dict[Process, int], now: dict[Process, int]) -> dict[Process, int]:
    used = {process: ns - before.get(process, 0) for process, ns in now.items()}
    gone_ns = sum(ns for process, ns in before.items() if process not in now and process != UNLISTED)
    if UNLISTED in used:
        used[UNLISTED] -= gone_ns
    return {process: ns for process, ns in used.items() if ns > 0}
