# SPDX-License-Identifier: Apache-2.0
"""What the platform's meter has counted beyond the zones within it: the zone `other`. Pure.

Formula 9 in docs/attribution.md.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .meter import Point, energy_at, thinned

WHOLE = "platform"
PARTS = ("package", "dram", "gpu")

# A zone that is missing from so many power frames in a row has ended; from fewer, it is only late.
ENDED_AFTER = 5

ZoneName = tuple[str, str, str]  # zone, index, source


@dataclass
class Curve:
    """A zone's energy over all its series and epochs. `base_uj`: what it was when the epoch began."""

    epoch: int
    points: list[Point]
    base_uj: int = 0
    begun_ns: int = 0  # when its present series began

    def read(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Take a reading; one that is not newer changes nothing."""
        newest_ns, newest_uj = self.points[-1]
        if epoch != self.epoch:
            self.epoch, self.base_uj = epoch, newest_uj
            if epoch > newest_ns:
                # What flowed before it and was not read is nobody's.
                self.points = [*self.points, (epoch, newest_uj)]
                newest_ns = epoch
        if mono_ns > newest_ns:
            self.points = thinned([*self.points, (mono_ns, max(newest_uj, self.base_uj + energy_uj))])

    def begin_at(self, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Go on from a reading that contradicts the earlier ones, as if nothing had flowed in between."""
        # Only differences along the curve count, so all of it is raised rather than having a base below 0.
        raised_uj = max(0, energy_uj - self.points[-1][1])
        points = [(at_ns, at_uj + raised_uj) for at_ns, at_uj in self.points]
        newest_ns, newest_uj = points[-1]
        self.epoch, self.base_uj = epoch, newest_uj - energy_uj
        self.points = thinned([*points, (mono_ns, newest_uj)]) if mono_ns > newest_ns else points

    def forget_before(self, mono_ns: int) -> None:
        """Drop the curve before a time that is not needed any more."""
        kept = [point for point in self.points if point[0] > mono_ns]
        self.points = [(mono_ns, energy_at(self.points, mono_ns)), *kept]


@dataclass
class Partition:
    """`other` on the clock of the platform's meter, as a running maximum; 0 when it begins.

    `disagreement_uj`: how much more the parts have counted since than the whole has beyond that maximum.
    """

    source: str = ""  # of the platform
    index: str = ""
    epoch: int = 0  # when it began: it begins again when the platform's source changes
    is_told: bool = False  # power has a zone `other` of its own
    bound_ns: int = 0  # up to when it is known
    remainder_uj: int = 0  # platform minus parts since the beginning; may fall, unlike `other_uj`
    other_uj: int = 0
    curves: dict[ZoneName, Curve] = field(default_factory=dict)
    listed: set[ZoneName] = field(default_factory=set)  # in the newest frames: the others have ended
    missed: dict[ZoneName, int] = field(default_factory=dict)  # frames since the one that had the zone
    next_source: str = ""  # the platform's new one, once the old one is known up to `until_ns`
    next_index: str = ""
    until_ns: int = 0
    forgotten_ns: int = 0  # what parts had before this is not known
    _resume_ns: int = 0  # where to go on after a new epoch of the platform's publisher
    _held_ns: int | None = None  # a part is not known beyond, until its new source is read

    @property
    def disagreement_uj(self) -> int:
        """What is missing to the running maximum."""
        return self.other_uj - self.remainder_uj

    @property
    def is_listed(self) -> bool:
        """True while the platform's meter is in the newest frame."""
        return (WHOLE, self.index, self.source) in self.listed

    def read(self, name: ZoneName, epoch: int, start_ns: int, mono_ns: int, energy_uj: int) -> None:
        """Take a reading of any zone; the platform's, and those of its parts, count.

        `start_ns`: since when a zone that is new has counted.
        """
        if name[0] == WHOLE or name[0] in PARTS:
            curve = self.curves.setdefault(name, Curve(epoch, [(start_ns, 0)], begun_ns=start_ns))
            is_clock = name == (WHOLE, self.index, self.source)
            if is_clock and epoch != curve.epoch and epoch > self.bound_ns:
                self._resume_ns = epoch
            curve.read(epoch, mono_ns, energy_uj)

    def begin_at(self, name: ZoneName, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Go on from a zone's reading that contradicts its earlier ones."""
        if name in self.curves:
            self.curves[name].begin_at(epoch, mono_ns, energy_uj)

    def begin(self, name: ZoneName, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Begin a series of a zone, or go on with one, at a point of its present count."""
        if name[0] != WHOLE and name[0] not in PARTS:
            return
        curve = self.curves.get(name)
        clock = self.curves.get((WHOLE, self.index, self.source))
        if name[0] == WHOLE and clock is not None and (curve is not None or name[2] != self.source):
            if not self.next_source:
                self.until_ns = clock.points[-1][0]
            _zone, self.next_index, self.next_source = name
        if curve is None:
            self.curves[name] = Curve(epoch, [(mono_ns, energy_uj)], begun_ns=mono_ns)
        else:
            curve.begin_at(epoch, mono_ns, energy_uj)
            curve.begun_ns = mono_ns

    def end(self, name: ZoneName) -> None:
        """End a zone's series: it is waited for no longer."""
        if name in self.curves:
            self.missed[name] = ENDED_AFTER
            self.listed.discard(name)

    def end_frame(
        self, listed: set[ZoneName], unchanged: Collection[ZoneName] = (), pending_ns: Collection[int] = ()
    ) -> None:
        """All readings of a frame have been taken, and the zones `listed` were in it.

        `unchanged`: those that the frame says nothing of. `pending_ns`: where series begin that have no
        reading beyond it yet.
        """
        self._held_ns = min(pending_ns, default=None)
        self.listed = {name for name in self.curves if self._is_there(name, listed, unchanged)}
        platforms = [name for name in self.curves if name[0] == WHOLE and name in self.listed]
        if not platforms and not self.source:
            for curve in self.curves.values():
                curve.points = curve.points[-1:]
                self.forgotten_ns = max(self.forgotten_ns, curve.points[0][0])
        if platforms and not self.source:
            _zone, index, source = platforms[0]
            if self.curves[platforms[0]].points[-1][0] >= self.forgotten_ns:
                self._start(index, source)

    def switch(self) -> bool:
        """Begin another `other`, if the platform's source has changed and the old one is known to its end."""
        if not self.next_source or self.bound_ns < self.until_ns:
            return False
        self._start(self.next_index, self.next_source)
        return True

    def _start(self, index: str, source: str) -> None:
        self.index, self.source, self.next_source, self._resume_ns = index, source, "", 0
        clock = self.curves[WHOLE, index, source]
        self.epoch = self.bound_ns = max(clock.begun_ns, self.bound_ns, self.forgotten_ns)
        self.remainder_uj = self.other_uj = 0
        for curve in self.curves.values():
            curve.forget_before(self.bound_ns)

    def _is_there(self, name: ZoneName, listed: set[ZoneName], unchanged: Collection[ZoneName]) -> bool:
        """True for a zone that has not ended: one that is only late must still be waited for."""
        missed = 0 if name in listed else self.missed.get(name, ENDED_AFTER)
        if name not in listed and name not in unchanged:
            missed = min(missed + 1, ENDED_AFTER)
        self.missed[name] = missed
        return missed < (ENDED_AFTER if name[0] != WHOLE else 1)

    def readings(self) -> list[Point]:
        """The new readings of `other`: at those of the platform that all its parts have reached."""
        clock = self.curves.get((WHOLE, self.index, self.source))
        if clock is None or self.is_told:
            return []
        reached_ns = min((self.curves[name].points[-1][0] for name in self.listed), default=0)
        # Readings of a former epoch are waited for no longer.
        reached_ns = max(reached_ns, self._resume_ns - 1)
        if self.next_source:
            reached_ns = min(reached_ns, self.until_ns)
        if self._held_ns is not None:
            reached_ns = min(reached_ns, self._held_ns)
        found = []
        for until_ns, _energy_uj in [
            point for point in clock.points if self.bound_ns < point[0] <= reached_ns
        ]:
            if self._resume_ns and until_ns >= self._resume_ns:
                break
            whole_uj = self._growth(until_ns, lambda name: name[0] == WHOLE and name[2] == self.source)
            parts_uj = self._growth(until_ns, lambda name: name[0] != WHOLE)
            self.remainder_uj += whole_uj - parts_uj
            self.other_uj = max(self.other_uj, self.remainder_uj)
            self.bound_ns = until_ns
            found.append((until_ns, self.other_uj))
        # Between the last reading of one epoch and the beginning of the next the platform was not read: what
        # its parts have counted there must not be taken from what it counts later.
        resumes, self._resume_ns = self._resume_ns > self.bound_ns, 0
        if resumes:
            self.bound_ns = clock.epoch
        if found or resumes:
            for curve in self.curves.values():
                curve.forget_before(self.bound_ns)
        return found

    def _growth(self, until_ns: int, is_wanted: Callable[[ZoneName], bool]) -> int:
        return sum(
            energy_at(curve.points, until_ns) - energy_at(curve.points, self.bound_ns)
            for name, curve in self.curves.items()
            if is_wanted(name)
        )
