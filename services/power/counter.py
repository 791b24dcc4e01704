# SPDX-License-Identifier: Apache-2.0
"""From raw readings of a counter that wraps to energy. Pure.

What a new reading means is a type, never a number: a first reading has no difference to report, and
neither has a gap.
"""

from dataclasses import dataclass, field

from wattline.second_look import AGREEING, SecondLook
from wattline.zone_power import POWER_MARGIN, energy_max_uj

_UW_NS_PER_UJ = 1_000_000_000  # µW × ns = 10⁻¹⁵ J, a thousand-millionth of a µJ
_UW_PER_W = 1_000_000
_SET = "the counter was set: energy between the last accepted reading and the next one is not counted"
_BEGUN_ANEW = "its counter began anew while it was away: its energy since the last reading is not counted"
_SIMILAR_PERCENT = 125  # of a confirmed power: what is accepted without being confirmed again


@dataclass(frozen=True, slots=True)
class Reading:
    """One raw reading, with CLOCK_MONOTONIC at its instant."""

    mono_ns: int
    raw_uj: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a counter can show at all.

    `range_uj` is the modulus of the counter, 0 if it never wraps. For RAPL it is max_energy_range_uj, as
    every reader of powercap has it. That is the highest value the counter shows, 2³² - 1 of the meter's
    energy units (drivers/powercap/intel_rapl_common.c, get_max_energy_counter, Linux 6.1), so the true
    modulus is one unit more (15 to 61 µJ), which sysfs does not tell. Each wrap therefore misses one
    unit in 2³²: energy is never invented.
    """

    range_uj: int
    power_max_uw: int

    @property
    def pause_max_ns(self) -> int:
        """In less time than this the counter can't have wrapped twice."""
        return self.range_uj * _UW_NS_PER_UJ // self.power_max_uw


@dataclass(frozen=True, slots=True)
class First:
    """Nothing to compare with: energy begins here."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The counter went on by so much."""

    energy_uj: int


@dataclass(frozen=True, slots=True)
class Wrap:
    """The counter passed its end once and went on; the energy holds the part before and after."""

    energy_uj: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Energy flowed that these readings can't tell. Go on from the new one.

    `is_pause`: only because they are too far apart. `energy_uj`: what readings after the gap, up to the new
    one, have measured.
    """

    reason: str
    is_pause: bool = False
    energy_uj: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """No such reading is possible. Stay with the old one.

    `is_doubt`: it is possible, but must be confirmed by later ones.
    """

    reason: str
    is_doubt: bool = False


Step = First | Advance | Wrap | Gap | Refused


def step(previous: Reading | None, current: Reading, limits: Limits) -> Step:
    """What a reading means after the one before.

    Order: readings in time order. Edges: a fall is one wrap if the counter has a range; two wraps can't be
    seen, so whatever was apart for `limits.pause_max_ns` or longer is a gap.
    Source: Documentation/power/powercap/powercap.rst, Linux 6.1 (energy_uj, max_energy_range_uj).
    """
    if not _in_range(current, limits):
        return Refused(f"expected a counter of at most {limits.range_uj} µJ, its range")
    return First() if previous is None else _advance(previous, current, limits)


def _advance(previous: Reading, current: Reading, limits: Limits) -> Step:
    elapsed_ns = current.mono_ns - previous.mono_ns
    if elapsed_ns <= 0:
        return Refused("expected a later time than the previous reading's")
    if limits.range_uj and elapsed_ns >= limits.pause_max_ns:
        return Gap(
            f"no reading for {limits.pause_max_ns / 1e9:.0f} s or longer, so the counter may have wrapped "
            "more than once: set a shorter --interval-s",
            is_pause=True,
        )
    fell = current.raw_uj < previous.raw_uj
    if fell and not limits.range_uj:
        return Gap("a counter without a range was set back: its energy since the last reading is not counted")
    energy_uj = current.raw_uj - previous.raw_uj + (limits.range_uj if fell else 0)
    if energy_uj > energy_max_uj(limits.power_max_uw, elapsed_ns):
        return Refused(
            f"expected at most {limits.power_max_uw // 1_000_000} W on average since the previous reading"
        )
    return Wrap(energy_uj) if fell else Advance(energy_uj)


@dataclass(slots=True)
class Account:
    """One counter's energy since its epoch. `last` is the reading up to which `energy_uj` holds.

    Every reading is judged by the last accepted one. A rejected reading therefore costs no energy: the next
    accepted one has it. Several rejected readings in a row that agree with each other replace the last
    accepted one (wattline/second_look.py).
    """

    limits: Limits
    energy_uj: int = 0
    gaps: int = 0
    last: Reading | None = None
    refused: int = 0
    _rejected: SecondLook[Reading] = field(default_factory=SecondLook)
    # Of the rejected readings in a row that agree: the energy between them; True if the counter can have
    # reached all of them, or the newest one, from the last accepted reading.
    _agreed_uj: int = 0
    _can_be_all: bool = True
    _can_be_newest: bool = False
    _confirmed_uw: int = 0  # the newest power, while that is above any rating
    _may_begin_anew: bool = False

    def was_away(self) -> None:
        """Take note that the counter may begin anew: if the next reading is lower, that is no wrap."""
        self._may_begin_anew = True

    def take(self, reading: Reading) -> Step:
        """Account for a reading; return what it was."""
        result = step(self.last, reading, self.limits)
        if self._has_begun_anew(reading):
            result = Gap(_BEGUN_ANEW)
        between = None if self._rejected.newest is None else step(self._rejected.newest, reading, self.limits)
        agreed_uj = between.energy_uj if isinstance(between, Advance | Wrap) else None
        refused = result if isinstance(result, Refused) else self._doubt(reading, result, agreed_uj)
        if refused is None:
            return self._accept(reading, result)
        self.refused += 1
        if not self._is_confirmed(reading, agreed_uj, can_be=refused is not result):
            return refused
        if self._can_be_all:
            return self._accept(reading, result)
        return self._accept(reading, Gap(_SET, energy_uj=self._agreed_uj))

    def _has_begun_anew(self, reading: Reading) -> bool:
        is_later = self.last is not None and reading.mono_ns > self.last.mono_ns
        has_fallen = self.last is not None and reading.raw_uj < self.last.raw_uj
        return self._may_begin_anew and is_later and has_fallen and _in_range(reading, self.limits)

    def _doubt(self, reading: Reading, result: Step, agreed_uj: int | None) -> Refused | None:
        """Return why a possible reading must be confirmed by later ones; None if it is accepted at once.

        A single reading that is too high by less than the limit would raise the energy for good.
        """
        if self.last is None or not isinstance(result, Advance | Wrap):
            return None
        rated_uw = self.limits.power_max_uw // POWER_MARGIN
        expected_uw = max(rated_uw, self._confirmed_uw * _SIMILAR_PERCENT // 100)
        is_usual = result.energy_uj <= energy_max_uj(expected_uw, reading.mono_ns - self.last.mono_ns)
        if is_usual and not (self._can_be_newest and agreed_uj is not None):
            return None
        return Refused(
            f"expected at most {rated_uw // _UW_PER_W} W, the most that such zones are rated; accepted once "
            f"{AGREEING} readings in a row agree",
            is_doubt=True,
        )

    def _is_confirmed(self, reading: Reading, agreed_uj: int | None, *, can_be: bool) -> bool:
        """Note a rejected reading; True if it is the last of enough that agree."""
        if self.last is not None and reading.mono_ns <= self.last.mono_ns:
            return False
        if not _in_range(reading, self.limits):
            self._rejected.clear()
            self._can_be_newest = False
            return False
        self._agreed_uj = 0 if agreed_uj is None else self._agreed_uj + agreed_uj
        self._can_be_all = can_be and (agreed_uj is None or self._can_be_all)
        self._can_be_newest = can_be
        return self._rejected.reject(reading, lambda _earlier, _later: agreed_uj is not None)

    def _accept(self, reading: Reading, result: Step) -> Step:
        if isinstance(result, Advance | Wrap | Gap):
            self.energy_uj += result.energy_uj
        self.gaps += isinstance(result, Gap)
        self._confirmed_uw = self._power_above_rating_uw(reading, result)
        self._may_begin_anew = False
        self.last = reading
        self._rejected.clear()
        self._can_be_newest = False
        return result

    def _power_above_rating_uw(self, reading: Reading, result: Step) -> int:
        """Mean power since the last accepted reading, if it is above any rating; else 0."""
        if self.last is None or not isinstance(result, Advance | Wrap):
            return 0
        power_uw = result.energy_uj * _UW_NS_PER_UJ // (reading.mono_ns - self.last.mono_ns)
        return power_uw if power_uw > self.limits.power_max_uw // POWER_MARGIN else 0


def resume(limits: Limits, energy_uj: int, gaps: int, last: Reading, last_range_uj: int) -> Account:
    """The account of a former run. A counter whose range has changed is another counter: a gap."""
    if last_range_uj != limits.range_uj:
        return Account(limits, energy_uj, gaps + 1)
    return Account(limits, energy_uj, gaps, last)


def _in_range(reading: Reading, limits: Limits) -> bool:
    return not limits.range_uj or 0 <= reading.raw_uj <= limits.range_uj
