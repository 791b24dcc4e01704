# SPDX-License-Identifier: Apache-2.0
"""What was measured against what is true: one line each, with its limit and verdict. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

CONTAINER_LIMIT_RATIO = 0.01
IDLE_LIMIT_RATIO = 0.02
# /proc/stat counts stolen time in ticks of 10 ms: what is seen of a stretch may be short by one at each end.
_STEAL_TICKS_NS = 20_000_000
_UW_NS_PER_UJ = 1_000_000_000
_UNITS = {"J": 1_000_000, "W": 1_000_000}


@dataclass(frozen=True)
class Line:
    """One comparison, in µJ or µW; `unit` is what it is shown in. `allowed` upward beyond the ratio."""

    who: str
    unit: str
    truth: int
    measured: int
    limit_ratio: float
    allowed: int = 0

    @property
    def error_ratio(self) -> float:
        """How far off, as a ratio of the truth."""
        if not self.truth:
            return 0.0 if not self.measured else float("inf")
        return (self.measured - self.truth) / self.truth

    @property
    def passes(self) -> bool:
        """Whether it is within its limit."""
        least = self.truth * (1 - self.limit_ratio)
        most = self.truth * (1 + self.limit_ratio) + self.allowed
        return self.truth > 0 and least <= self.measured <= most


@dataclass(frozen=True)
class Residual:
    """The books of many scrapes: by zone, the largest residual there was."""

    scrapes: int
    worst_uj: Mapping[str, int]

    @property
    def passes(self) -> bool:
        """Whether all were there and closed."""
        return self.scrapes > 0 and bool(self.worst_uj) and not any(self.worst_uj.values())


def container(who: str, cpu_ns: int, busy_uw: int, measured_uj: int, stolen_ns: int) -> Line:
    """Dynamic energy of a container: the truth is its CPU time, by the kernel's account, at busy power.

    That account leaves out the time that a hypervisor stole meanwhile, Wattline's has it in: hence an
    allowance upward of what was stolen on all CPUs, and none downward.
    """
    allowed_ns = stolen_ns + _STEAL_TICKS_NS if stolen_ns else 0
    return Line(
        who,
        "J",
        cpu_ns * busy_uw // _UW_NS_PER_UJ,
        measured_uj,
        CONTAINER_LIMIT_RATIO,
        allowed_ns * busy_uw // _UW_NS_PER_UJ,
    )


def node(who: str, meter_uj: int, measured_uj: int) -> Line:
    """All energy of a zone since the meter was first read: no microjoule may be missing."""
    return Line(who, "J", meter_uj, measured_uj, 0.0)


def idle(who: str, idle_uw: int, learned_uw: int) -> Line:
    """Idle power as it was learned."""
    return Line(who, "W", idle_uw, learned_uw, IDLE_LIMIT_RATIO)


def table(lines: list[Line], residual: Residual) -> list[str]:
    """For people."""
    rows = [("", "truth", "Wattline", "error", "limit", "")]
    for line in lines:
        scale = _UNITS[line.unit]
        limit = f"{line.limit_ratio:.0%}" if line.limit_ratio else "0 µJ"
        if line.allowed:
            limit += f" + {line.allowed / scale:.2f} {line.unit}"
        rows.append(
            (
                line.who,
                f"{line.truth / scale:.3f} {line.unit}",
                f"{line.measured / scale:.3f} {line.unit}",
                f"{line.error_ratio:+.3%}",
                limit,
                _verdict(line.passes),
            )
        )
    worst = max(residual.worst_uj.values(), key=abs, default=0)
    rows.append(
        (
            f"node - containers - unattributed, {residual.scrapes} scrapes",
            "0 µJ",
            f"{worst} µJ",
            "",
            "0 µJ",
            _verdict(residual.passes),
        )
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def passes(lines: list[Line], residual: Residual) -> bool:
    """Whether all do."""
    return bool(lines) and residual.passes and all(line.passes for line in lines)


def _verdict(passed: bool) -> str:
    return "PASS" if passed else "FAIL"
