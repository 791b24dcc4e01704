# SPDX-License-Identifier: Apache-2.0
"""CPU time of the whole node between two activity frames, and what no machine can have used. Pure."""

from dataclasses import dataclass

from .wire.frames import Activity

# More CPU time than CPUs × elapsed by up to this part, and by this much per CPU, is the skew between CPUs or
# the coarse clock of /proc. It counts as all CPUs busy; more than that is impossible.
_OVERFULL_PERCENT_MAX = 10
_OVERFULL_NS_MAX = 100_000_000


@dataclass(frozen=True)
class NodeUse:
    """The CPU time of all since the activity's epoch."""

    mono_ns: int
    busy_ns: int
    epoch: int
    cpus: int = 0
    interval_ns: int = 0

    @classmethod
    def of(cls, activity: Activity) -> "NodeUse":
        """From a frame; with the time that found no row because the cgroup table was full."""
        return cls(
            mono_ns=activity.mono_ns,
            busy_ns=sum(activity.cgroups.cpu_ns) + sum(activity.cpus.lost_ns),
            epoch=activity.epoch,
            cpus=len(activity.cpus),
            interval_ns=activity.interval_ns,
        )


@dataclass(frozen=True)
class Stretch:
    """Time in which `busy_ns` of `capacity_ns` (CPUs × elapsed) were used; `gap`: time before is lost."""

    busy_ns: int
    capacity_ns: int
    gap: bool = False


@dataclass(frozen=True)
class Impossible:
    """No such use can follow the one before."""

    reason: str


def stretch(previous: NodeUse, current: NodeUse) -> Stretch | Impossible:
    """Use between two frames, the later of them second.

    Edges: if the counters began again in between, the time before is a gap, and what has been counted since
    is taken as spread evenly, so that no time counts twice.
    """
    if current.epoch < previous.epoch:
        return Impossible(f"epoch {current.epoch} is older than {previous.epoch}, that of an earlier frame")
    gap = current.epoch != previous.epoch
    counted_from_ns = current.epoch if gap else previous.mono_ns
    counted_ns = current.mono_ns - counted_from_ns
    elapsed_ns = current.mono_ns - max(previous.mono_ns, counted_from_ns)
    busy_ns = current.busy_ns - (0 if gap else previous.busy_ns)
    if counted_ns <= 0 or not current.cpus:
        return Impossible("no CPU in the activity has run for any time: expected at least one")
    if busy_ns < 0:
        return Impossible("CPU time fell within one epoch: expected a cumulative counter")
    if busy_ns > possible_ns(counted_ns, current.cpus):
        return Impossible("more CPU time than CPUs × elapsed time: expected at most all CPUs busy")
    if gap:
        busy_ns = busy_ns * elapsed_ns // counted_ns
    capacity_ns = elapsed_ns * current.cpus
    return Stretch(min(busy_ns, capacity_ns), capacity_ns, gap)


def possible_ns(elapsed_ns: int, cpus: int) -> int:
    """The most CPU time that can be charged in some time."""
    return cpus * (elapsed_ns * (100 + _OVERFULL_PERCENT_MAX) // 100 + _OVERFULL_NS_MAX)


def follows(earlier: NodeUse, later: NodeUse) -> bool:
    """True if two frames of one epoch agree, the later of them second."""
    return (
        earlier.epoch == later.epoch
        and earlier.mono_ns < later.mono_ns
        and isinstance(stretch(earlier, later), Stretch)
    )
