# SPDX-License-Identifier: Apache-2.0
"""The newest frames, and how old they may be. Pure: the caller brings the time.

Ages are differences on CLOCK_MONOTONIC, so all frames must be of this boot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wattline.wire.frames import AnyFrame, Energy, Frame, Metadata, Status

_LATE_INTERVALS = 3  # so many intervals, and the slack, may pass until a stream counts as stale
_LATE_SLACK_NS = 2_000_000_000
# Books older than this are no longer shown: counters that stand still would read as 0 W. Shorter would tear
# the series whenever the calculator restarts; this is how long Prometheus itself lets a series go on without
# a sample (its --query.lookback-delta).
WITHHELD_AFTER_NS = 300_000_000_000


@dataclass(frozen=True)
class Inputs:
    """One moment's view of the streams. Frames in it are never changed."""

    energy: Energy | None = None
    metadata: Metadata | None = None
    statuses: Mapping[str, Status] = field(default_factory=dict)  # by producer

    def with_frame(self, frame: AnyFrame) -> "Inputs":
        """The same with this frame as the newest of its stream."""
        match frame:
            case Energy():
                return replace(self, energy=frame)
            case Metadata():
                return replace(self, metadata=frame)
            case Status():
                return replace(self, statuses={**self.statuses, frame.producer: frame})
            case _:
                return self

    def without_old(self, now_ns: int) -> "Inputs":
        """The same without books and names that are too old to be shown."""

        def old(frame: Frame | None) -> bool:
            return frame is not None and now_ns - frame.mono_ns > WITHHELD_AFTER_NS + fresh_within_ns(frame)

        return replace(
            self,
            energy=None if old(self.energy) else self.energy,
            metadata=None if old(self.metadata) else self.metadata,
        )


def fresh_within_ns(frame: Frame) -> int:
    """How old a frame of this stream may be and still count as fresh."""
    return _LATE_INTERVALS * frame.interval_ns + _LATE_SLACK_NS


def is_fresh(frame: Frame, now_ns: int) -> bool:
    """Whether the next frame of the stream is not overdue."""
    return now_ns - frame.mono_ns < fresh_within_ns(frame)


def why_not_ready(energy: Energy | None, now_ns: int) -> str:
    """One line saying why there is no fresh energy data; empty if there is."""
    if energy is None:
        return "no energy frame has come yet: is the calculator running?"
    limit_ns = fresh_within_ns(energy)
    if not is_fresh(energy, now_ns):
        age_ns = now_ns - energy.mono_ns
        return (
            f"the newest energy frame is {_seconds(age_ns)} old, expected less than {_seconds(limit_ns)}: "
            "has the calculator stopped?"
        )
    zones = energy.zones
    if not len(zones):
        return "the energy frame has no zone: is the power service running, and has it a meter or a model?"
    newest = max(range(len(zones)), key=zones.watermark_mono_ns.__getitem__)
    age_ns = now_ns - zones.watermark_mono_ns[newest]
    if age_ns >= limit_ns:
        return (
            f"the newest energy of any zone ({zones.zone[newest]} {zones.index[newest]} from "
            f"{zones.source[newest]}) is {_seconds(age_ns)} old, expected less than {_seconds(limit_ns)}: "
            "has power or the probe stopped?"
        )
    return ""


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.1f} s"
