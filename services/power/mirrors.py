# SPDX-License-Identifier: Apache-2.0
"""Zones that show one and the same counter, so that its energy is counted once. Pure.

On AMD Zen 1 and 2 each die of a socket has a zone, and every one of them shows the socket's counter. Only the
raw counters tell such dies from sockets that draw equal power: one counter read twice shows the same value.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wattline.second_look import AGREEING
from wattline.zone_power import energy_max_uj

from .counter import Limits, Reading
from .source import Zone

# So many readings in a row, in each of which both counters have advanced, decide. Two counters that only
# happen to begin alike have drifted apart by then.
DECIDED_AFTER = 4
# The same for zones that were counted apart before. Counters of different zones may cross, and stay close for
# some readings.
DECIDED_LATE_AFTER = 60
# Meters renew their registers about once a millisecond (zone_power.py): the later of two reads may show one
# renewal more.
_RENEWAL_NS = 2_000_000
_BURST = 4  # so many times the mean power may flow between the two reads
_UNIT_UJ = 100  # more than one unit of any RAPL counter (15 to 61 µJ)
_UW_NS_PER_UJ = 1_000_000_000


class Counter(NamedTuple):
    """A zone's counter at its reading of this tick. `took_ns`: for how long it was being read."""

    reading: Reading
    took_ns: int
    limits: Limits


@dataclass
class Pair:
    """Two zones that may have one counter: the leader is counted, the follower is not once this is decided.

    `is_held`: the follower's energy is held back, because it hasn't been counted beside the leader's so far.
    `was_counted`: it has been counted before, but not of late, and the leader has.
    """

    leader: Zone
    is_held: bool
    was_counted: bool
    at_leader: Reading
    at_follower: Reading
    together: int = 0
    apart: int = 0
    still: int = 0  # readings in a row in which neither counter has moved
    is_decided: bool = False

    @property
    def is_withheld(self) -> bool:
        """True while the follower's energy must not be published."""
        return self.is_held or self.is_decided


class Change(NamedTuple):
    """A zone whose part has changed."""

    zone: Zone
    leader: Zone


class Changes(NamedTuple):
    """Zones found to be mirrors at a tick, and mirrors found to be none."""

    mirrored: list[Change]
    parted: list[Change]


class Mirrors:
    """Pairs by follower. Zones that are counted already lead; of the others those that were found first."""

    def __init__(self) -> None:
        self._pairs: dict[Zone, Pair] = {}

    def is_withheld(self, zone: Zone) -> bool:
        """Return True while a zone's energy must not be published."""
        return zone in self._pairs and self._pairs[zone].is_withheld

    def leader(self, zone: Zone) -> Zone | None:
        """Return the zone whose counter this one is known to show, if it is a mirror."""
        pair = self._pairs.get(zone)
        return pair.leader if pair is not None and pair.is_decided else None

    def held_by(self, zone: Zone) -> Zone | None:
        """Return the zone whose counter this one may show, while its energy is held back for that."""
        pair = self._pairs.get(zone)
        return pair.leader if pair is not None and pair.is_held and not pair.is_decided else None

    def stands_still(self, zone: Zone) -> bool:
        """Return True if neither the counter of a zone in a pair nor its leader's has moved for a while."""
        return zone in self._pairs and self._pairs[zone].still >= DECIDED_AFTER

    def successor(self, zone: Zone, readable: Mapping[Zone, Counter]) -> Zone | None:
        """Let a mirror of a zone that can't be read take its part; return it, if there is one.

        The zone itself is that mirror's from now on, and all its other mirrors are as well. Without one,
        zones that were only held because of it are free.
        """
        # What a zone that was counted before holds back is time in which another one was, however long. If
        # they have run together since, it is most likely the same energy.
        followers = [
            one
            for one, pair in self._pairs.items()
            if pair.leader == zone
            and (pair.is_decided or (pair.is_held and pair.was_counted and pair.together))
        ]
        heir = next((one for one in followers if one in readable), None)
        if heir is None:
            # Whoever comes back is compared anew, and held if the others have been counted meanwhile.
            self._pairs = {
                one: pair for one, pair in self._pairs.items() if pair.leader != zone or pair.is_decided
            }
            self._pairs.pop(zone, None)
            return None
        taken = self._pairs.pop(heir)
        for pair in self._pairs.values():
            if pair.leader == zone:
                pair.leader, pair.at_leader = heir, readable[heir].reading
        self._pairs[zone] = Pair(
            leader=heir,
            is_held=False,
            was_counted=True,
            at_leader=readable[heir].reading,
            at_follower=taken.at_leader,
            is_decided=True,
        )
        return heir

    def judge(
        self, counters: Mapping[Zone, Counter], new: frozenset[Zone], counted: Container[Zone] = ()
    ) -> Changes:
        """Compare the counters of a tick. Order: that in which their zones were found.

        `new`: zones whose energy has not been published yet, or not since they could last not be read.
        `counted`: zones with a row.
        """
        changes = Changes([], [])
        ordered = {zone: counters[zone] for zone in sorted(counters, key=lambda zone: zone in new)}
        for zone, counter in ordered.items():
            pair = self._pairs.get(zone)
            if pair is None:
                self._pair(zone, ordered, is_new=zone in new, was_counted=zone in counted)
            elif pair.leader in counters:
                self._judge_pair(zone, pair, counters[pair.leader], counter, changes)
        return changes

    def _pair(self, zone: Zone, counters: Mapping[Zone, Counter], *, is_new: bool, was_counted: bool) -> None:
        for leader in self._leaders(zone, counters):
            if _can_be_one(counters[leader], counters[zone]):
                at_leader, at_follower = counters[leader].reading, counters[zone].reading
                self._pairs[zone] = Pair(leader, is_new, was_counted, at_leader, at_follower)
                return

    def _leaders(self, zone: Zone, counters: Mapping[Zone, Counter]) -> Iterator[Zone]:
        """Zones of the same name before this one that are not mirrors themselves."""
        for one in counters:
            if one == zone:
                return
            if one.name == zone.name and not self.is_withheld(one):
                yield one

    def _judge_pair(
        self, zone: Zone, pair: Pair, leader: Counter, follower: Counter, changes: Changes
    ) -> None:
        if not pair.is_decided and not _can_be_one(leader, follower):
            del self._pairs[zone]
            return
        moved = (
            leader.reading.raw_uj != pair.at_leader.raw_uj,
            follower.reading.raw_uj != pair.at_follower.raw_uj,
        )
        pair.still = 0 if any(moved) else pair.still + 1
        if not _run_together(pair, leader, follower):
            if not any(moved):
                return  # counters that stand still say nothing
            pair.together, pair.apart = 0, pair.apart + 1
        elif all(moved):
            pair.together, pair.apart = pair.together + 1, 0
        else:
            return
        pair.at_leader, pair.at_follower = leader.reading, follower.reading
        if not pair.is_decided and pair.together >= (DECIDED_AFTER if pair.is_held else DECIDED_LATE_AFTER):
            pair.is_decided = True
            changes.mirrored.append(Change(zone, pair.leader))
        if pair.apart >= AGREEING:
            del self._pairs[zone]
            if pair.is_decided:
                changes.parted.append(Change(zone, pair.leader))


def _can_be_one(leader: Counter, follower: Counter) -> bool:
    """True if two counters differ by no more than the greatest power makes of the time between the reads."""
    if leader.limits != follower.limits:
        return False
    most_uj = leader.limits.power_max_uw * _between_ns(leader, follower) // _UW_NS_PER_UJ
    return _difference_uj(leader, follower) <= most_uj + _UNIT_UJ


def _run_together(pair: Pair, leader: Counter, follower: Counter) -> bool:
    """True if two counters differ by no more than their present power makes of the time between the reads."""
    power_uw = max(
        _power_uw(pair.at_leader, leader),
        _power_uw(pair.at_follower, follower),
    )
    most_uj = _BURST * power_uw * _between_ns(leader, follower) // _UW_NS_PER_UJ
    return _difference_uj(leader, follower) <= most_uj + _UNIT_UJ


def _between_ns(leader: Counter, follower: Counter) -> int:
    """The longest time that may lie between what two reads have seen."""
    apart_ns = abs(follower.reading.mono_ns - leader.reading.mono_ns)
    return apart_ns + leader.took_ns + follower.took_ns + _RENEWAL_NS


def _difference_uj(leader: Counter, follower: Counter) -> int:
    """The distance of two counters, the shorter way round."""
    range_uj = leader.limits.range_uj
    ahead_uj = abs(follower.reading.raw_uj - leader.reading.raw_uj)
    return min(ahead_uj, range_uj - ahead_uj) if range_uj else ahead_uj


def _power_uw(before: Reading, counter: Counter) -> int:
    """Mean power since a reading; the greatest possible one where the counter can't tell."""
    elapsed_ns = counter.reading.mono_ns - before.mono_ns
    energy_uj = counter.reading.raw_uj - before.raw_uj
    energy_uj += counter.limits.range_uj if energy_uj < 0 else 0
    if elapsed_ns <= 0 or energy_uj > energy_max_uj(counter.limits.power_max_uw, elapsed_ns):
        return counter.limits.power_max_uw
    return energy_uj * _UW_NS_PER_UJ // elapsed_ns
