# SPDX-License-Identifier: Apache-2.0
"""What the platform's meter has counted beyond the zones within it: the zone `other`. Pure.

Formula 9 in docs/attribution.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .meter import Point, energy_at, thinned

WHOLE = "platform"
PARTS = ("package", "dram", "gpu")

# A zone that is missing from so many power frames in a row has ended; from fewer, it is only late.
ENDED_AFTER = 5

ZoneName = tuple[str, str, str]  # zone, index, source


@dataclass
class Curve:
    """A zone's energy over all epochs of its publisher. `base_uj`: what it was when the epoch began."""

    epoch: int
    points: list[Point]
    base_uj: int = 0

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
        """Nobody will ask for earlier times."""
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
    _resume_ns: int = 0  # where to go on after a new epoch of the platform's publisher

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
            curve = self.curves.setdefault(name, Curve(epoch, [(start_ns, 0)]))
            is_clock = name == (WHOLE, self.index, self.source)
            if is_clock and epoch != curve.epoch and epoch > self.bound_ns:
                self._resume_ns = epoch
            curve.read(epoch, mono_ns, energy_uj)

    def begin_at(self, name: ZoneName, epoch: int, mono_ns: int, energy_uj: int) -> None:
        """Go on from a zone's reading that contradicts its earlier ones."""
        if name in self.curves:
            self.curves[name].begin_at(epoch, mono_ns, energy_uj)

    def end_frame(self, listed: set[ZoneName]) -> None:
        """All readings of a frame have been taken, and these zones were in it."""
        self.listed = {name for name in self.curves if self._is_there(name, listed)}
        platforms = [name for name in self.curves if name[0] == WHOLE and name in self.listed]
        if not platforms and not self.source:
            for curve in self.curves.values():
                curve.points = curve.points[-1:]
        if platforms and self.source not in {source for _zone, _index, source in platforms}:
            points = self.curves[platforms[0]].points
            # One that takes over from another begins with its present reading: what it has counted so far may
            # be of the other's time.
            self.epoch = self.bound_ns = (points[-1] if self.source else points[0])[0]
            _zone, self.index, self.source = platforms[0]
            self.remainder_uj = self.other_uj = 0
            for curve in self.curves.values():
                curve.forget_before(self.bound_ns)

    def _is_there(self, name: ZoneName, listed: set[ZoneName]) -> bool:
        """True for a zone that has not ended: one that is only late must still be waited for."""
        missed = 0 if name in listed else min(self.missed.get(name, ENDED_AFTER) + 1, ENDED_AFTER)
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
