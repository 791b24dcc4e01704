# SPDX-License-Identifier: Apache-2.0
"""The zones and their books: from readings and windows to attributed energy. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .accounts import Accounts
from .attribute import NO_USE, POWER_GAP, Giving, MembersNow
from .candidate import Candidate
from .meter import Judgement, Meter, thinned
from .partition import ENDED_AFTER, Partition, ZoneName
from .rules import MODEL, Rules
from .share import choose, learn
from .slots import AWAY_PERIODS, Slots, cover_same
from .timeline import Timeline, Window
from .use_curve import UseCurve
from .zone import Reading, Zone, gpu_of

OTHER = "other"
_NS_PER_S = 1_000_000_000
ZONES_MAX = 256  # in the books for good, so that no total falls; a frame may have as many
# After so long without a row a zone has gone: should it come back, who ran meanwhile is not known any more.
_AWAY_NS = 300 * _NS_PER_S
# Zones that a machine may have one of in each socket, their index beginning with the socket's number.
_OF_SOCKETS = ("package", "core", "uncore", "dram")


@dataclass
class Zones:
    """All zones, in the order in which they appeared: the order of their columns in the books."""

    accounts: Accounts
    zones: dict[ZoneName, Zone] = field(default_factory=dict)
    partition: Partition = field(default_factory=Partition)
    slots: Slots = field(default_factory=Slots)
    _has_booked: bool = False  # energy of a gap, while reading
    _covered: dict[tuple[str, str], set[int]] = field(default_factory=dict)  # sockets, by zone and source

    def has_room(self, name: ZoneName) -> bool:
        """Return True if a zone is known, or the books have room for one more."""
        if name in self.zones:
            return True
        return len(self.zones) < ZONES_MAX and self.accounts.has_room(zones=len(self.zones) + 1)

    def add(self, name: ZoneName, meter: Meter) -> Zone:
        """Add a zone to the books."""
        zone = self.zones[name] = Zone(name, self.accounts.add_zone(), meter)
        self._covered.clear()
        return zone

    def other(self) -> Zone | None:
        """The zone `other` of the platform's present source, if there is one."""
        return self.zones.get((OTHER, self.partition.index, self.partition.source))

    def covered_ns(self, owner: Candidate) -> int:
        """Up to when other series have covered what an owner covers; 0: there are none."""
        return max(
            (
                zone.meter.newest[0]
                for zone in self.zones.values()
                if zone.name != owner.name
                and cover_same(zone.name, owner.name, is_whole=zone.is_whole or owner.is_whole)
            ),
            default=0,
        )

    def pending_ns(self) -> dict[ZoneName, int]:
        """Where the series of owners begin that have not been read beyond it."""
        found = {}
        for owner in self.slots.owners():
            if not owner.is_counted and self.has_room(owner.name):
                zone = self.zones.get(owner.name)
                own_ns = zone.meter.newest[0] if zone is not None else 0
                found[owner.name] = max(self.covered_ns(owner), own_ns)
        return found

    def read(self, zone: Zone, reading: Reading, rules: Rules) -> bool:
        """Take a reading; False if it can't be right, and is not the last of several that agree."""
        meter = zone.meter
        judgement = meter.judge(*reading, zone.power_max_uw)
        if judgement is Judgement.LATE:
            return True
        if judgement is Judgement.IMPOSSIBLE and not zone.rejected.reject(reading, zone.follows):
            return False
        is_contradiction = judgement is Judgement.IMPOSSIBLE
        if is_contradiction or reading.epoch != meter.epoch:
            zone.gaps.begin()
            zone.integration.begin()
            self._end_stretch(zone, rules)
        if is_contradiction:
            meter.begin_at(*reading)
            self.partition.begin_at(zone.name, *reading)
        else:
            if zone.unlearned:
                zone.reading_interval_ns = reading.mono_ns - zone.unlearned[-1][0]
            meter.read(*reading)
        zone.rejected.clear()
        zone.unlearned = thinned([*zone.unlearned, (reading.mono_ns, reading.energy_uj)])
        return True

    def go_on_at(self, zone: Zone, point: Reading, rules: Rules) -> None:
        """Let a zone's series go on from a point of another count, without a gap."""
        self._end_stretch(zone, rules)
        zone.meter.go_on_at(*point)
        zone.rejected.clear()

    def _end_stretch(self, zone: Zone, rules: Rules) -> None:
        zone.unlearned = []
        if zone.meter.points:
            zone.book_unwatched(zone.meter.points[-1][0], POWER_GAP, self.accounts, rules)
            self._has_booked = True

    def attribute(self, timelines: "Timelines", members: MembersNow, rules: Rules) -> bool:
        """Advance every zone as far as its meter and the activity reach; whether any did."""
        advanced, self._has_booked = self._has_booked, False
        for zone in self.zones.values():
            timeline = timelines.of(zone.name)
            self._learn(zone, timeline.use)
            # One reading at a time: each closes the window of its own meter.
            for read_ns in [mono_ns for mono_ns, _energy in zone.meter.points]:
                for run in timeline.runs(zone.meter.watermark_ns, read_ns):
                    self._attribute_window(zone, timelines.joined(run), members, rules)
                    advanced = True
            if zone.missed >= ENDED_AFTER and zone.meter.points:
                advanced |= self._end(zone, timeline, members, rules)
        return advanced

    def _end(self, zone: Zone, timeline: Timeline, members: MembersNow, rules: Rules) -> bool:
        """Attribute the energy of an ended zone after its last whole window; False if use isn't known yet.

        No later reading will close that window. Its users have the part up to the zone's last reading.
        """
        read_ns = zone.meter.newest[0]
        later = [window for window in timeline.windows if window.end_ns > read_ns]
        if not later:
            return False
        if later[0].start_ns < read_ns:
            self._attribute_window(zone, replace(later[0], end_ns=read_ns), members, rules, is_part=True)
        else:
            zone.book_unwatched(read_ns, later[0].gap or NO_USE, self.accounts, rules)
        return True

    def watermarks_ns(self, *, of_gpu: str | None = None) -> list[int]:
        """Where the zones stand that are there, and go by a GPU's timeline, or by the CPUs'."""
        found = [ns for name, ns in self.pending_ns().items() if gpu_of(name) == of_gpu]
        periods_ns = {owner.name: owner.row.period_ns for owner in self.slots.owners()}
        other = self.other()
        for zone in self.zones.values():
            # A series that has ended, should it go on, does so where another one has come to by then.
            is_former = zone is not other if zone.name[0] == OTHER and not zone.stream else bool(zone.stream)
            has_ended = is_former and zone.name not in periods_ns and not zone.meter.points
            kept_ns = max(_AWAY_NS, (AWAY_PERIODS + 1) * periods_ns.get(zone.name, 0))
            is_there = not has_ended and self.slots.awake_ns - zone.seen_ns <= kept_ns
            if is_there and gpu_of(zone.name) == of_gpu:
                found.append(zone.meter.watermark_ns)
        return found

    def _socket(self, zone: Zone, sockets: set[int]) -> int | None:
        """The socket whose use a zone goes by; None for all: there is one, or one has no zone of its own."""
        name, _index, source = zone.name
        if name not in _OF_SOCKETS or len(sockets) <= 1:
            return None
        if (name, source) not in self._covered:
            self._covered[name, source] = {
                _socket_number(index) for other, index, of in self.zones if (other, of) == (name, source)
            }
        return _socket_number(zone.name[1]) if sockets <= self._covered[name, source] else None

    def _learn(self, zone: Zone, use: UseCurve) -> None:
        """Let its idle power see each stretch between two readings whose use is known by now."""
        while zone.unlearned:
            start_ns, start_uj = zone.unlearned[0]
            far = [point for point in zone.unlearned if point[0] >= start_ns + max(1, use.resolution_ns)]
            if not far or far[0][0] > use.end_ns:
                return
            end_ns, end_uj = far[0]
            seen = use.between(start_ns, end_ns, self._socket(zone, use.sockets))
            if seen is not None:
                zone.idle_seen.observe(end_uj - start_uj, end_ns - start_ns, *seen)
            zone.unlearned = zone.unlearned[-len(far) :]

    def _attribute_window(
        self, zone: Zone, window: Window, members: MembersNow, rules: Rules, *, is_part: bool = False
    ) -> None:
        """Attribute a zone's energy up to a window's end; `is_part`: the use is that of a longer time."""
        if window.start_ns > zone.meter.watermark_ns:
            zone.book_unwatched(window.start_ns, window.gap or NO_USE, self.accounts, rules)
        socket = self._socket(zone, window.sockets)
        time_ns = window.end_ns - zone.meter.watermark_ns
        energy_uj = zone.meter.take_until(window.end_ns)
        if rules.method == MODEL and not is_part:
            learn(zone.power_model, energy_uj, time_ns, window, socket)
        idle_uj, dynamic_uj = zone.split(energy_uj, time_ns, zone.idle(rules).power_uw)
        share = choose(zone.name[0], window, socket, zone.power_model, rules.method)
        zone.share_by = share.share_by or zone.share_by
        giving = Giving(self.accounts, zone.number, window, share)
        giving.idle(idle_uj, rules.idle_policy, members)
        giving.dynamic(dynamic_uj)


@dataclass
class Timelines:
    """The windows of the CPUs' users, and those of each GPU's."""

    cpu: Timeline
    gpus: dict[str, Timeline]
    join: Callable[[list[Window]], Window]
    _joined: dict[tuple[int, int, int], Window] = field(default_factory=dict)

    def of(self, name: ZoneName) -> Timeline:
        """The one that a zone goes by."""
        return self.gpus.get(name[1], Timeline()) if name[0] == "gpu" else self.cpu

    def joined(self, run: list[Window]) -> Window:
        """A run as one window; several zones that need the same share it."""
        if len(run) == 1:
            return run[0]
        key = (id(run[0]), id(run[-1]), len(run))
        if key not in self._joined:
            self._joined[key] = self.join(run)
        return self._joined[key]


def _socket_number(index: str) -> int:
    """Of "1" or "1-die-0"; -2 where the index begins with no number."""
    head = index.partition("-")[0]
    return int(head) if head.isascii() and head.isdigit() else -2
