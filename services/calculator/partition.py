# SPDX-License-Identifier: Apache-2.0
"""What the platform's meter has counted beyond the zones within it: the zone `other`. Pure.

Formula 9 in docs/attribution.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .meter import Point, energy_at, thinned

WHOLE = "platform"
PARTS = ("package", "dram", "gpu")

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
        if mono_ns > newest_ns:
            self.points = thinned([*self.points, (mono_ns, max(newest_uj, self.base_uj + energy_uj))])

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
    bound_ns: int = 0  # up to when it is known
    remainder_uj: int = 0  # platform minus parts since the beginning; may fall, unlike `other_uj`
    other_uj: int = 0
    curves: dict[ZoneName, Curve] = field(default_factory=dict)
    listed: set[ZoneName] = field(default_factory=set)  # in the newest frame: the others have ended

    @property
    def disagreement_uj(self) -> int:
        """What is missing to the running maximum."""
        return self.other_uj - self.remainder_uj

    def read(self, name: ZoneName, epoch: int, start_ns: int, mono_ns: int, energy_uj: int) -> None:
        """Take a reading of any zone; the platform's, and those of its parts, count.

        `start_ns`: since when a zone that is new has counted.
        """
        if name[0] == WHOLE or name[0] in PARTS:
            curve = self.curves.setdefault(name, Curve(epoch, [(start_ns, 0)]))
            curve.read(epoch, mono_ns, energy_uj)

    def end_frame(self, listed: set[ZoneName]) -> None:
        """All readings of a frame have been taken, and these zones were in it."""
        self.listed = listed & self.curves.keys()
        platforms = [name for name in self.curves if name[0] == WHOLE and name in self.listed]
        if not platforms and not self.source:
            for curve in self.curves.values():
                curve.points = curve.points[-1:]
        if platforms and self.source not in {source for _zone, _index, source in platforms}:
            _zone, self.index, self.source = platforms[0]
            self.bound_ns = self.curves[platforms[0]].points[0][0]
            self.remainder_uj = self.other_uj = 0

    def readings(self) -> list[Point]:
        """The new readings of `other`: at those of the platform that all its parts have reached."""
        clock = self.curves.get((WHOLE, self.index, self.source))
        if clock is None:
            return []
        reached = min((self.curves[name].points[-1][0] for name in self.listed), default=0)
        found = []
        for until_ns, _energy_uj in [point for point in clock.points if self.bound_ns < point[0] <= reached]:
            whole_uj = self._growth(until_ns, lambda name: name[0] == WHOLE and name[2] == self.source)
            parts_uj = self._growth(until_ns, lambda name: name[0] != WHOLE)
            self.remainder_uj += whole_uj - parts_uj
            self.other_uj = max(self.other_uj, self.remainder_uj)
            self.bound_ns = until_ns
            found.append((until_ns, self.other_uj))
        if found:
            for curve in self.curves.values():
                curve.forget_before(self.bound_ns)
        return found

    def _growth(self, until_ns: int, is_wanted: Callable[[ZoneName], bool]) -> int:
        return sum(
            energy_at(curve.points, until_ns) - energy_at(curve.points, self.bound_ns)
            for name, curve in self.curves.items()
            if is_wanted(name)
        )
