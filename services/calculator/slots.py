# SPDX-License-Identifier: Apache-2.0
"""Which source owns each slot (zone and index), over all power streams. Pure.

Formula 11 in docs/attribution.md, and docs/decisions/0022-one-owner-per-slot.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .candidate import Candidate
from .partition import ZoneName

AWAY_PERIODS = 5  # without a new reading for so many of its periods a source is away
GOOD_READINGS = 5  # so many in a row, and a better source takes over
_S = 1_000_000_000
PERIOD_NS_MAX = 3600 * _S  # as the longest interval: beyond it, one that has died would not be missed
# Five of these: a busy machine may hold up a stage for a second or two (docs/decisions/0022).
_PERIOD_NS_MIN = _S
# Of one stream; a frame has no more. So no stream leaves another without room.
CANDIDATES_MAX = 256
STREAMS_MAX = 16
# A spare that has been away for so long (and for its 5 periods) is forgotten.
FORGOTTEN_NS = 300 * _S
# A stream without a frame for so long is not waited for. A busy machine may hold up a stage for some seconds,
# and what `other` takes for its own meanwhile it never gives back.
_STREAM_ENDED_NS = 60 * _S
# The most that the time between two frames or ticks counts; or three intervals of the fastest stream.
_STEP_NS = 3 * _S
# The most that the time since the last calculator's counts: one that is killed again and again misses
# an owner too, and one that was stopped for long decides nothing before it has read the waiting frames.
_RESTART_STEP_NS = _S

FIRST = "no other source has it"
WAS_AWAY = f"no new reading of the previous owner for {AWAY_PERIODS} of its periods"
IS_MEASURED = "it is measured, the previous owner's is an estimate"
IS_BETTER = f"its rank is better, and it has had {GOOD_READINGS} good readings in a row"

NewestNs = Callable[[Candidate], int]


@dataclass(frozen=True)
class Change:
    """A slot's new owner, its previous owners, and the reason."""

    owner: Candidate
    previous: tuple[Candidate, ...]
    reason: str


@dataclass
class _Standing:
    """The owners of one zone, and what a rival of all of them is compared with."""

    owners: dict[str, Candidate]  # by index; all of one source if that is the whole machine's
    whole_source: str = ""
    is_estimated: bool = False
    are_away: bool = False
    preference: tuple[bool, int] = (False, 0)


@dataclass
class Slots:
    """All candidates, and a clock that stands still while the calculator does not run.

    `awake_ns` goes by the times of power frames and of ticks. A longer time between two of them than frames
    take counts in part only: the calculator was stopped, and its frames wait.
    """

    candidates: dict[tuple[ZoneName, str], Candidate] = field(default_factory=dict)
    awake_ns: int = 0
    now_ns: int = 0  # CLOCK_MONOTONIC of the newest frame or tick
    _by_zone: dict[str, list[Candidate]] = field(default_factory=dict)
    _intervals_ns: dict[str, int] = field(default_factory=dict)  # by stream
    _heard_ns: dict[str, int] = field(default_factory=dict)  # on this clock
    _counts: dict[str, int] = field(default_factory=dict)  # of candidates, by stream

    def hear(self, stream: str, now_ns: int, interval_ns: int) -> bool:
        """Note a stream's frame; False if there are too many streams."""
        self.advance(now_ns)
        if stream not in self._intervals_ns and len(self._intervals_ns) >= STREAMS_MAX:
            ended = [one for one in self._intervals_ns if self.has_ended(one)]
            if not ended:
                return False
            del self._intervals_ns[ended[0]], self._heard_ns[ended[0]]
        self._intervals_ns[stream] = min(interval_ns, PERIOD_NS_MAX)
        self._heard_ns[stream] = self.awake_ns
        return True

    def advance(self, now_ns: int) -> None:
        """Advance the clock to a time."""
        if now_ns <= self.now_ns:
            return
        step_ns = _RESTART_STEP_NS
        if self._intervals_ns:
            step_ns = max(_STEP_NS, 3 * min(self._intervals_ns.values()))
        self.awake_ns += min(now_ns - self.now_ns, step_ns) if self.now_ns else 0
        self.now_ns = now_ns

    def has_ended(self, stream: str) -> bool:
        """True if no frame of a stream has come for a minute and for three of its intervals."""
        silent_ns = self.awake_ns - self._heard_ns.get(stream, 0)
        return silent_ns > max(_STREAM_ENDED_NS, 3 * self._intervals_ns.get(stream, 0))

    def find(self, name: ZoneName, stream: str) -> Candidate | None:
        """The candidate of a zone in a stream, if it is known."""
        return self.candidates.get((name, stream))

    def add(self, name: ZoneName, stream: str) -> Candidate | None:
        """A new candidate; None if the stream has too many."""
        if self._counts.get(stream, 0) >= CANDIDATES_MAX:
            away = [one for one in self.spares() if one.stream == stream and self.is_away(one)]
            if not away:
                return None
            self._forget(min(away, key=lambda one: one.renewed_ns))
        candidate = Candidate(name, stream, renewed_ns=self.awake_ns)
        self.insert(candidate)
        return candidate

    def insert(self, candidate: Candidate) -> None:
        """Add a new one, or one from a ledger."""
        self.candidates[candidate.name, candidate.stream] = candidate
        self._by_zone.setdefault(candidate.name[0], []).append(candidate)
        self._counts[candidate.stream] = self._counts.get(candidate.stream, 0) + 1

    def _forget(self, candidate: Candidate) -> None:
        del self.candidates[candidate.name, candidate.stream]
        self._by_zone[candidate.name[0]].remove(candidate)
        self._counts[candidate.stream] -= 1
        if not self._counts[candidate.stream]:
            del self._counts[candidate.stream]

    def is_away(self, candidate: Candidate) -> bool:
        """True if it has had no new reading for five of its periods."""
        return self.awake_ns - candidate.renewed_ns > AWAY_PERIODS * candidate.row.period_ns

    def renew(self, candidate: Candidate) -> None:
        """Note that a new reading was accepted."""
        candidate.good = 1 if self.is_away(candidate) else min(candidate.good + 1, GOOD_READINGS)
        candidate.renewed_ns = self.awake_ns

    def owners(self) -> Iterator[Candidate]:
        """All owners."""
        return (one for one in self.candidates.values() if one.is_owner)

    def spares(self) -> list[Candidate]:
        """All candidates that own nothing, best first."""
        return sorted((one for one in self.candidates.values() if not one.is_owner), key=_order)

    def rivals_ns(self, zone: str, newest_ns: NewestNs) -> Callable[[Candidate], int]:
        """Return a function: the newest reading of those that a spare would take over from, 0 without any."""
        standing = self._standing(zone)
        latest_ns = max(map(newest_ns, standing.owners.values()), default=0)

        def of(spare: Candidate) -> int:
            same = standing.owners.get(spare.name[1])
            if _meets_all(spare, standing):
                return latest_ns
            return newest_ns(same) if same is not None else 0

        return of

    def has_spare(self, owner: Candidate) -> bool:
        """True if another source, which is not away, could take over from an owner."""
        return any(
            not one.is_owner
            and not self.is_away(one)
            and cover_same(one.name, owner.name, is_whole=one.is_whole or owner.is_whole)
            for one in self._by_zone[owner.name[0]]
        )

    def decide(self, has_room: Callable[[ZoneName], bool]) -> list[Change]:
        """Choose the owners anew. `has_room`: False for a zone that can't be counted."""
        changes: list[Change] = []
        for zone, candidates in list(self._by_zone.items()):
            spares = [one for one in candidates if not one.is_owner]
            if not spares:
                continue
            standing = self._standing(zone)
            for spare in sorted(spares, key=_order):
                if self.is_away(spare):
                    spare.good = 0
                    self._forget_if_long_away(spare)
                elif has_room(spare.name) and (change := self._change(spare, standing)):
                    changes.append(change)
                    standing = self._standing(zone)
        return changes

    def _forget_if_long_away(self, spare: Candidate) -> None:
        if self.awake_ns - spare.renewed_ns > FORGOTTEN_NS:
            self._forget(spare)

    def _standing(self, zone: str) -> _Standing:
        owners = {one.name[1]: one for one in self._by_zone.get(zone, ()) if one.is_owner}
        found = list(owners.values())
        return _Standing(
            owners,
            next((one.name[2] for one in found if one.is_whole), ""),
            all(one.is_estimated for one in found),
            all(self.is_away(one) for one in found),
            min((one.preference for one in found), default=(False, 0)),
        )

    def _change(self, spare: Candidate, standing: _Standing) -> Change | None:
        if _meets_all(spare, standing):
            previous = tuple(standing.owners.values())
            is_estimated, are_away = standing.is_estimated, standing.are_away
            preference = standing.preference
        else:
            same = standing.owners.get(spare.name[1])
            previous = () if same is None else (same,)
            is_estimated, are_away, preference = False, False, (False, 0)
            if same is not None:
                is_estimated, are_away = same.is_estimated, self.is_away(same)
                preference = same.preference
        if not previous:
            reason = FIRST
        elif are_away:
            reason = WAS_AWAY
        elif is_estimated and not spare.is_estimated:
            reason = IS_MEASURED
        elif spare.preference < preference and spare.good >= GOOD_READINGS:
            reason = IS_BETTER
        else:
            return None
        spare.is_owner = True
        for one in previous:
            one.is_owner = False
        return Change(spare, previous, reason)


def period_ns(row_ns: int, interval_ns: int) -> int:
    """How often to expect a new reading, by what a row and its frame say; within reason."""
    return max(_PERIOD_NS_MIN, min(max(row_ns, interval_ns), PERIOD_NS_MAX))


def _order(candidate: Candidate) -> tuple[tuple[bool, int], str, ZoneName]:
    return candidate.preference, candidate.stream, candidate.name


def _meets_all(spare: Candidate, standing: _Standing) -> bool:
    """True if a spare would take over from all owners of its zone, whatever their index."""
    if not standing.owners:
        return False
    if standing.whole_source:
        return spare.name[2] != standing.whole_source
    return spare.is_whole


def cover_same(one: ZoneName, other: ZoneName, *, is_whole: bool) -> bool:
    """True if two series cover the same energy; `is_whole`: one of them covers the whole machine."""
    if one[0] != other[0]:
        return False
    return one[1] == other[1] or (is_whole and one[2] != other[2])
