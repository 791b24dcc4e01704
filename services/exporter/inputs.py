# SPDX-License-Identifier: Apache-2.0
"""The newest frames, and how old they may be. Pure: the caller brings the time.

Ages are differences on CLOCK_MONOTONIC, so all frames must be of this boot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wattline.health import State, Verdict, limit_ns, overdue_ns, verdict
from wattline.pipeline import SERVICES
from wattline.wire.frames import AnyFrame, Energy, EnergyZones, Frame, Metadata, Status

_CALCULATOR = "calculator"
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
    stages: tuple[str, ...] = SERVICES  # that are expected to run

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
            return frame is not None and now_ns - frame.mono_ns > WITHHELD_AFTER_NS + limit_ns(frame)

        return replace(
            self,
            energy=None if old(self.energy) else self.energy,
            metadata=None if old(self.metadata) else self.metadata,
        )


def is_fresh(frame: Frame, now_ns: int) -> bool:
    """Whether the next frame of the stream is not overdue."""
    return now_ns - frame.mono_ns < limit_ns(frame)


def stage_verdict(inputs: Inputs, stage: str, now_ns: int) -> Verdict:
    """How a stage does, by its newest status and those of the stages before it."""
    return verdict(stage, inputs.statuses.get, now_ns)


def why_not_ready(inputs: Inputs, now_ns: int) -> str:
    """One line saying why there is no fresh energy data, and the stage at fault; empty if there is."""
    stale = _why_stale(inputs.energy, now_ns)
    if not stale:
        return ""
    found = stage_verdict(inputs, _CALCULATOR, now_ns)
    return stale if found.state is State.WORKING else f"{stale} At fault: {found.text}"


def _why_stale(energy: Energy | None, now_ns: int) -> str:
    if energy is None:
        return "no energy frame has come yet."
    allowed_ns = limit_ns(energy)
    if not is_fresh(energy, now_ns):
        age_ns = now_ns - energy.mono_ns
        return (
            f"the newest energy frame is {_seconds(age_ns)} old, expected less than {_seconds(allowed_ns)}."
        )
    zones = energy.zones
    if not len(zones):
        return "the energy frame has no zone: is the power service running, and has it a meter or a model?"
    for row in _rows_that_matter(zones):
        age_ns = now_ns - zones.watermark_mono_ns[row]
        row_allowed_ns = max(allowed_ns, overdue_ns(_reading_interval_ns(zones, row)))
        if age_ns >= row_allowed_ns:
            return (
                f"the newest energy of zone {zones.zone[row]} {zones.index[row]} from {zones.source[row]} is "
                f"{_seconds(age_ns)} old, expected less than {_seconds(row_allowed_ns)}."
            )
    return ""


def _rows_that_matter(zones: EnergyZones) -> list[int]:
    """Rows whose energy must be fresh, the oldest first: all that power reports.

    Without any, or where the publisher doesn't tell, the freshest zone.
    """
    watermark_ns = zones.watermark_mono_ns.__getitem__
    listed = [row for row in range(len(zones)) if zones.is_listed and zones.is_listed[row]]
    return sorted(listed, key=watermark_ns) or [max(range(len(zones)), key=watermark_ns)]


def _reading_interval_ns(zones: EnergyZones, row: int) -> int:
    return zones.reading_interval_ns[row] if zones.reading_interval_ns else 0


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.1f} s"
