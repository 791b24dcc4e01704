# SPDX-License-Identifier: Apache-2.0
"""Acceptance of activity frames that can follow the last accepted one. Pure."""

from dataclasses import dataclass, field
from enum import Enum

from wattline.node_use import Impossible, NodeUse, follows, possible_ns, stretch
from wattline.second_look import SecondLook
from wattline.wire.frames import Activity

from .columns import ImpossibleError


class Judgement(Enum):
    """What becomes of a frame."""

    NEWER = "newer"
    CONTRADICTS = "contradicts"  # the last of several that agree with each other, but not with earlier ones


@dataclass
class Acceptance:
    """The last accepted use of the node, and rejected ones since. A rejected frame changes nothing else."""

    last: NodeUse | None = None
    rejected: SecondLook[NodeUse] = field(default_factory=SecondLook)

    def is_late(self, activity: Activity) -> bool:
        """Return True for a frame that is no later than the last accepted one."""
        return self.last is not None and activity.mono_ns <= self.last.mono_ns

    def judge(self, activity: Activity, processes_ns: int) -> Judgement:
        """Judge a later frame; `processes_ns`: the CPU time of its process rows since the last accepted one.

        Raises ImpossibleError if it is rejected.
        """
        use, last = NodeUse.of(activity), self.last
        reason = _why_impossible(last, use, processes_ns)
        if not reason:
            return Judgement.NEWER
        if self.rejected.reject(use, follows):
            return Judgement.CONTRADICTS
        raise ImpossibleError(reason)

    def accept(self, activity: Activity) -> None:
        """Note that a frame was taken."""
        self.last = NodeUse.of(activity)
        self.rejected.clear()


def _why_impossible(last: NodeUse | None, use: NodeUse, processes_ns: int) -> str:
    """The reason why a use can't follow the last accepted one; empty if it can."""
    begin = NodeUse(use.epoch, 0, use.epoch)  # counters began at 0 when their epoch began
    between = stretch(last or begin, use)
    if isinstance(between, Impossible):
        return between.reason
    since = last if last is not None and last.epoch == use.epoch else begin
    most_ns = possible_ns(use.mono_ns - since.mono_ns, use.cpus)
    if processes_ns > most_ns:
        return (
            f"processes: expected at most {most_ns} ns of CPU time since the last frame, got {processes_ns}"
        )
    return ""
