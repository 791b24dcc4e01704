# SPDX-License-Identifier: Apache-2.0
"""From cumulative GPU use in power frames to windows of use, each GPU on its own clock. Pure.

Formula 2 in docs/attribution.md, once more: the row with pid 0 has what unlisted processes used, so what it
gains beyond what was seen of those that have gone is new.
"""

from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.wire.frames import Power

Process = tuple[int, int]  # pid, start in clock ticks
UNLISTED: Process = (0, 0)
_WAITING_MAX = 256


class GpuWindow(NamedTuple):
    """Who kept a GPU busy for how long between two of its readings."""

    gpu: str
    start_ns: int
    end_ns: int
    busy_ns: dict[Process, int]


class GpuReading(NamedTuple):
    """Cumulative use of one GPU at one of its readings; None where nobody tells."""

    epoch: int
    gpu: str
    read_ns: int
    busy_ns: dict[Process, int] | None


@dataclass
class GpuBook:
    """The last raw counters of each GPU, and when they were read.

    Readings wait until activity has told of the processes: what waits is not in the ledger, and need not be,
    since the next reading has it all.
    """

    epoch: int = 0
    read_ns: dict[str, int] = field(default_factory=dict)
    raw: dict[str, dict[Process, int]] = field(default_factory=dict)
    waiting: deque[GpuReading] = field(default_factory=deque)

    def take(self, power: Power, known: Container[str]) -> None:
        """Let a frame's readings wait; `known`: the GPUs that the books have a zone of."""
        now: dict[str, dict[Process, int]] = {}
        use = power.gpu_use
        for index, pid, start, busy_ns in zip(use.index, use.pid, use.start_ticks, use.busy_ns, strict=True):
            of_gpu = now.setdefault(index, {})
            of_gpu[pid, start] = of_gpu.get((pid, start), 0) + busy_ns
        for zone, index, mono_ns in zip(
            power.zones.zone, power.zones.index, power.zones.mono_ns, strict=True
        ):
            if zone == "gpu" and index in known and mono_ns <= power.mono_ns:
                self.waiting.append(GpuReading(power.epoch, index, mono_ns, now.get(index)))

    def windows(self, known_ns: int) -> Iterator[GpuWindow]:
        """The windows that end by a time up to which activity is known, or have waited for too long."""
        while self.waiting and (self.waiting[0].read_ns <= known_ns or len(self.waiting) > _WAITING_MAX):
            reading = self.waiting.popleft()
            if reading.epoch != self.epoch:
                self.epoch, self.raw = reading.epoch, {}
            # A new epoch that is said to have begun before the last reading covers no time twice.
            read_ns = self.read_ns.get(reading.gpu, 0)
            gpu, start_ns = reading.gpu, read_ns if reading.gpu in self.raw else max(read_ns, reading.epoch)
            if reading.read_ns <= start_ns:
                continue
            before = self.raw.get(gpu, {})
            current = before if reading.busy_ns is None else reading.busy_ns
            self.read_ns[gpu], self.raw[gpu] = reading.read_ns, current
            yield GpuWindow(gpu, start_ns, reading.read_ns, _growth(before, current))


def _growth(before: dict[Process, int], now: dict[Process, int]) -> dict[Process, int]:
    used = {process: ns - before.get(process, 0) for process, ns in now.items()}
    gone_ns = sum(ns for process, ns in before.items() if process not in now and process != UNLISTED)
    if UNLISTED in used:
        used[UNLISTED] -= gone_ns
    return {process: ns for process, ns in used.items() if ns > 0}
