# SPDX-License-Identifier: Apache-2.0
"""One source's zone in one power stream: its rank, its absences, its readings while it is a spare. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.second_look import SecondLook

from .meter import Judgement, Meter, thinned
from .partition import ZoneName
from .zone import MEASURED, Reading, agree, covers_whole_machine

# Readings kept of a spare. The first one is where its series would begin, and is never dropped.
SPARE_POINTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Described:
    """A row without its reading. `period_ns`: how often a new reading is expected."""

    rank: int = 0
    period_ns: int = 0
    provenance: str = MEASURED
    model: str = ""
    error_ratio_ppm: int = 0
    gaps: int = 0
    integration_uj: int = 0


class Figures(NamedTuple):
    """What a publisher reported with a reading: gaps, and µJ by which the energy may be off, so far."""

    mono_ns: int
    gaps: int
    integration_uj: int


NO_FIGURES = Figures(0, 0, 0)


@dataclass(eq=False)
class Candidate:
    """A zone of one source in one stream, which may own its slot.

    `renewed_ns`: when its last new reading arrived, on the clock of slots.py. `good`: new readings in a row,
    each in time. An owner `is_counted` once its series has begun; until then, and as a spare, its readings
    are in `curve`. `is_unseen`: the curve's first point is the beginning of an epoch, which was not read.
    `base`: the publisher's figures at the curve's first point; `figures`: later ones. `turned`: rows in a row
    that were measured where it is estimated, or the reverse.
    """

    name: ZoneName
    stream: str
    row: Described = field(default_factory=Described)
    renewed_ns: int = 0
    good: int = 0
    is_owner: bool = False
    is_counted: bool = False
    curve: Meter | None = None
    is_unseen: bool = False
    base: Figures = NO_FIGURES
    figures: list[Figures] = field(default_factory=list)
    turned: int = 0
    rejected: SecondLook[Reading] = field(default_factory=SecondLook)

    @property
    def is_estimated(self) -> bool:
        """True if no sensor measured it."""
        return self.row.provenance != MEASURED

    @property
    def is_whole(self) -> bool:
        """True if its source's rows of this zone, whatever their index, are the whole machine."""
        return covers_whole_machine(self.name, is_measured=not self.is_estimated)

    @property
    def preference(self) -> tuple[bool, int]:
        """Lower is better: what is measured first, then by rank."""
        return self.is_estimated, self.row.rank

    @property
    def newest_ns(self) -> int:
        """The time of a spare's newest reading."""
        return self.curve.newest[0] if self.curve is not None else 0

    def read(self, reading: Reading, start_ns: int, power_max_uw: int) -> Judgement:
        """Take a spare's reading, of its present `row`; IMPOSSIBLE: it was rejected.

        `start_ns`: since when a curve that is new has counted.
        """
        epoch, mono_ns, energy_uj = reading
        curve = self.curve
        if curve is None:
            curve = self._begin(epoch, start_ns, 0, is_unseen=mono_ns > start_ns)
            judgement = Judgement.NEWER
        else:
            judgement = curve.judge(epoch, mono_ns, energy_uj, power_max_uw)
        if judgement is Judgement.LATE:
            return judgement
        if judgement is Judgement.IMPOSSIBLE:
            if not self.rejected.reject(reading, lambda one, later: agree(one, later, power_max_uw)):
                return judgement
            curve = self._begin(epoch, mono_ns, energy_uj)
        elif epoch != curve.epoch:
            # The earlier epoch's energy since the owner's newest reading is dropped: a gap, if it is needed.
            is_unseen = curve.newest[0] < epoch < mono_ns
            curve = self._begin(epoch, epoch, 0, is_unseen=is_unseen)
        if mono_ns > curve.watermark_ns:
            curve.points = thinned([*curve.points, (mono_ns, energy_uj)], SPARE_POINTS_MAX)
        figures = Figures(mono_ns, self.row.gaps, self.row.integration_uj)
        if figures[1:] != (self.figures[-1] if self.figures else self.base)[1:]:
            self.figures = [*self.figures, figures][-SPARE_POINTS_MAX:]
        self.rejected.clear()
        return Judgement.NEWER

    def _begin(self, epoch: int, mono_ns: int, energy_uj: int, *, is_unseen: bool = False) -> Meter:
        self.curve = Meter(epoch, mono_ns, energy_uj)
        self.is_unseen = is_unseen
        self.base, self.figures = NO_FIGURES, []
        return self.curve

    def cut(self, mono_ns: int) -> None:
        """Drop the curve before a time, where its series would begin.

        A time before its first reading is not interpolated: how much flowed there was not read.
        """
        curve = self.curve
        if curve is None or mono_ns <= curve.watermark_ns or not curve.points:
            return
        if self.is_unseen:
            mono_ns, self.is_unseen = max(mono_ns, curve.points[0][0]), False
        mono_ns = min(mono_ns, curve.newest[0])
        curve.take_until(mono_ns)
        passed = [figures for figures in self.figures if figures.mono_ns <= mono_ns]
        if passed:
            self.base, self.figures = passed[-1], self.figures[len(passed) :]

    def step_down(self, meter: Meter | None) -> None:
        """Become a spare. `meter`: where it was counted, if it was; its curve goes on from there."""
        if meter is not None:
            self._begin(meter.epoch, *meter.newest)
            self.base = Figures(meter.newest[0], self.row.gaps, self.row.integration_uj)
        self.is_owner = self.is_counted = False
        self.good = 0
