# SPDX-License-Identifier: Apache-2.0
"""What the loop asks of a source of activity; the eBPF program is one (ebpf/), /proc the other (procfs/)."""

from dataclasses import dataclass, field
from typing import Protocol

from wattline.wire.frames import (
    ActivityCgroups,
    ActivityPaths,
    ActivityProcesses,
    Cpus,
    SourceState,
)


@dataclass(frozen=True)
class Sample:
    """One reading of everything, in the tables of an activity frame.

    `losses`: what could not be recorded, by what was lost; cumulative for the epoch.
    """

    mono_ns: int
    skew_ns: int
    cpus: Cpus
    cgroups: ActivityCgroups
    processes: ActivityProcesses
    paths: ActivityPaths
    counters: list[str] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    sources: list[SourceState] = field(default_factory=list)


class Backend(Protocol):
    """A source of activity. Its counters are cumulative since `epoch` (CLOCK_MONOTONIC), across restarts."""

    source: str
    epoch: int

    def sample(self) -> Sample:
        """Read everything now."""

    def retire(self, ended_before_ns: int) -> int:
        """Let go of what the last sample showed to have ended before a time (CLOCK_MONOTONIC).

        Returns how many processes that were. Their use stays in their cgroup's row; that of a removed cgroup
        in its parent's departed row.
        """

    def close(self, *, keep: bool) -> None:
        """Stop counting, unless the next probe is to go on from here (`keep`)."""
