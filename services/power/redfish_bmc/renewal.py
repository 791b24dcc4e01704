# SPDX-License-Identifier: Apache-2.0
"""Which readings of a BMC are new, how often it renews them, and when it only repeats an old one. Pure."""

from collections import deque
from dataclasses import dataclass, field

from wattline.second_look import AGREEING, SecondLook

from ..channel import Kind

# A figure with decimals that stays the same twice, or one whose own time stands still, is an old one.
_REPEATS_FINE = 1.5
# Whole watts stay the same for minutes on a node at rest.
_REPEATS_WHOLE = 20
_POWER_MIN_UW = 5_000_000  # no node with a BMC uses less, so its counter can't stand still for longer
_UW_NS_PER_UJ = 1_000_000_000
_GAPS_KEPT, _GAPS_NEEDED = 16, 4


@dataclass(slots=True)
class Renewal:
    """One channel's readings. `period_ns`: how often it is asked. `step_uj`: of a counter."""

    kind: Kind
    period_ns: int
    step_uj: int = 0
    _mark: tuple[int, str] | None = None
    _changed_ns: int = 0
    _taken_ns: int = 0
    _has_fraction: bool = False
    _between_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS_KEPT))

    @property
    def renewal_ns(self) -> int:
        """How often the BMC renews the figure, as far as it has been seen; the period if it isn't slower.

        The lower quartile of the times between changes: equal readings in a row make the others longer.
        """
        if len(self._between_ns) < _GAPS_NEEDED:
            return self.period_ns
        between_ns = sorted(self._between_ns)[len(self._between_ns) // 4]
        return between_ns if between_ns * 2 > self.period_ns * 3 else self.period_ns

    @property
    def stale_ns(self) -> int:
        """The longest time for which the figure may stay the same."""
        if self.kind is Kind.COUNTER:
            standing_ns = self.step_uj * _UW_NS_PER_UJ // _POWER_MIN_UW
            return max(standing_ns, round(self.renewal_ns * _REPEATS_FINE))
        is_fine = self._has_fraction or bool(self._mark and self._mark[1])
        return round(self.renewal_ns * (_REPEATS_FINE if is_fine else _REPEATS_WHOLE))

    def take(self, value: int, stamp: str, *, has_fraction: bool, asked_ns: int) -> bool:
        """True if this is a new reading.

        `stamp`: the figure's own time as the BMC writes it, empty if it has none. `has_fraction`: the figure
        isn't a whole number of its unit. `asked_ns`: CLOCK_MONOTONIC when it was asked for.
        Raises ValueError if the BMC repeats an old reading.
        """
        mark = (0, stamp) if stamp else (value, "")
        self._has_fraction |= has_fraction
        if mark != self._mark:
            if self._mark is not None:
                self._between_ns.append(asked_ns - self._changed_ns)
            self._mark, self._changed_ns, self._taken_ns = mark, asked_ns, asked_ns
            return True
        if asked_ns - self._changed_ns > self.stale_ns:
            raise ValueError(
                f"the reading hasn't changed for more than {self.stale_ns / 1e9:.3g} s: taken for an old one "
                "that the BMC repeats"
            )
        # Nothing may be made of a figure that should have changed: the next change shows what there was.
        if self.kind is Kind.COUNTER or stamp or self._has_fraction:
            return False
        if asked_ns - self._taken_ns < self.renewal_ns - self.period_ns // 2:
            return False
        self._taken_ns = asked_ns
        return True


@dataclass(slots=True)
class Falls:
    """A counter's readings. One that is too low would let the next right one look like energy.

    `last`: the newest right one, also a former run's.
    """

    last: int | None = None
    _lower: SecondLook[int] = field(default_factory=SecondLook)

    def take(self, value: int) -> None:
        """Raise ValueError if the counter has fallen, until it goes on from there."""
        has_fallen = self.last is not None and value < self.last
        # A counter that was reset goes on; one that stays where it is may be a figure for "none".
        is_standing = value == self._lower.newest
        if has_fallen and (is_standing or not self._lower.reject(value, lambda one, next_: one < next_)):
            raise ValueError(
                f"the counter fell: taken for a reset once it goes on from there in {AGREEING} readings, "
                "else for an error"
            )
        self.last = value
        self._lower.clear()
