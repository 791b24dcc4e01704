# SPDX-License-Identifier: Apache-2.0
"""CPUs by /proc/stat: how long each was there, and how much of that it was idle. Pure."""

from dataclasses import dataclass

from wattline.wire.columns import U32, U64
from wattline.wire.frames import Activity, Cpus

from .reading import Reading

# How far published idle time may be behind or ahead of the kernel's, hoping to meet it again: ten of
# /proc/stat's ticks of 10 ms. Further off, the kernel's figure is not to be met: it began again when the CPU
# was plugged in (kernel/time/tick-sched.c before Linux 6.8), or it is sampled by the tick and misses what
# runs between two ticks. Then only its differences count.
_SLACK_NS = 100_000_000


@dataclass(slots=True)
class _Cpu:
    """Published figures, and the kernel's idle time when ours was 0."""

    start_mono_ns: int
    stamp_mono_ns: int
    base_ns: int
    idle_ns: int = 0
    offline_ns: int = 0


class CpuBook:
    """Idle time and presence of each CPU since the epoch.

    Of each CPU: stamp - start - offline = elapsed, idle never falls and never grows faster than that.
    """

    def __init__(self, epoch: int, bases_ns: dict[int, int]) -> None:
        """As at the epoch, from the kernel's idle time of that moment by CPU."""
        self._stamp_mono_ns = epoch
        self._cpus = {cpu: _Cpu(epoch, epoch, base_ns) for cpu, base_ns in bases_ns.items()}

    def restore(self, previous: Activity) -> None:
        """Go on from a frame."""
        table, known = previous.cpus, self._cpus
        offline_ns = table.offline_ns or [0] * len(table)
        self._stamp_mono_ns = previous.mono_ns
        self._cpus = {
            cpu: _Cpu(start, stamp, known[cpu].base_ns if cpu in known else 0, idle, offline)
            for cpu, start, stamp, idle, offline in zip(
                table.cpu, table.start_mono_ns, table.stamp_mono_ns, table.idle_ns, offline_ns, strict=True
            )
        }

    def bases_ns(self) -> dict[int, int]:
        """For a later `CpuBook`, by CPU."""
        return {number: max(0, cpu.base_ns) for number, cpu in self._cpus.items()}

    def observe(self, reading: Reading) -> tuple[int, dict[int, int]]:
        """Elapsed time of all CPUs since the last reading, and how much each would add to its idle time.

        A CPU that was not in the last reading has been away since it was last in one.
        """
        elapsed_ns, wanted_ns = 0, {}
        for number, raw_ns in reading.idle_ns.items():
            cpu = self._cpus.get(number)
            if cpu is None or cpu.stamp_mono_ns != self._stamp_mono_ns:
                self._comes(number, raw_ns, reading.stamp_mono_ns)
                continue
            gone_by_ns = max(0, reading.stamp_mono_ns - cpu.stamp_mono_ns)
            cpu.stamp_mono_ns += gone_by_ns
            elapsed_ns += gone_by_ns
            wanted_ns[number] = min(max(0, raw_ns - cpu.base_ns - cpu.idle_ns), gone_by_ns)
        self._stamp_mono_ns = max(self._stamp_mono_ns, reading.stamp_mono_ns)
        return elapsed_ns, wanted_ns

    def add_idle(self, granted_ns: dict[int, int], reading: Reading) -> None:
        """Add to each CPU's idle time what was found to be so; then forget what can't be made good."""
        for number, ns in granted_ns.items():
            cpu, raw_ns = self._cpus[number], reading.idle_ns[number]
            cpu.idle_ns += ns
            behind_ns = raw_ns - cpu.base_ns - cpu.idle_ns
            cpu.base_ns += behind_ns - min(max(behind_ns, -_SLACK_NS), _SLACK_NS)

    def table(self) -> Cpus:
        """As the frame has it."""
        rows = list(self._cpus.values())
        return Cpus(
            cpu=U32(self._cpus),
            start_mono_ns=U64(row.start_mono_ns for row in rows),
            stamp_mono_ns=U64(row.stamp_mono_ns for row in rows),
            idle_ns=U64(row.idle_ns for row in rows),
            lost_ns=U64(0 for _row in rows),
            offline_ns=U64(row.offline_ns for row in rows),
        )

    def _comes(self, number: int, raw_ns: int, stamp_mono_ns: int) -> None:
        cpu = self._cpus.get(number)
        if cpu is None:
            self._cpus[number] = _Cpu(stamp_mono_ns, stamp_mono_ns, raw_ns)
            return
        cpu.offline_ns += stamp_mono_ns - cpu.stamp_mono_ns
        cpu.stamp_mono_ns = stamp_mono_ns
        cpu.base_ns = raw_ns - cpu.idle_ns
