# SPDX-License-Identifier: Apache-2.0
"""Several power streams of one machine on paper, whose sources read the same laws, and what was counted.

All laws are constant powers of whole µJ per ms and all times are whole ms, so interpolation is exact.
"""

from dataclasses import dataclass, field

from wattline.wire.columns import U32, U64
from wattline.wire.frames import UNREADABLE, AbsentZones, Power, PowerZones

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S, header

A = "a" * 64
PROCESS = (10, 100, 7)
GOOD, HUNG, ABSENT, GONE = "good", "hung", "absent", "gone"
MS = 1_000_000


@dataclass
class Meter:
    """A source's zone in a stream. `late_ns`: how old a reading is when it comes."""

    zone: str
    index: str
    source: str
    stream: str = "power"
    rank: int = 0
    power_uw: int = 50_000_000
    period_ns: int = 0  # 0: at every frame, and none is published
    late_ns: int = 0
    provenance: str = "measured"
    state: str = GOOD
    epoch: int = 0
    shown_ns: int = 0  # its newest reading's time
    gaps: int = 0
    integration_uj: int = 0

    @property
    def name(self):
        return (self.zone, self.index, self.source)

    def energy_uj(self, at_ns):
        return (at_ns - self.epoch) // MS * self.power_uw // 1000

    def begin(self, now_ns):
        self.epoch = self.shown_ns = now_ns
        self.gaps = self.integration_uj = 0

    def read(self, now_ns):
        at_ns = now_ns - self.late_ns
        if self.state == GOOD and at_ns >= self.shown_ns + self.period_ns and at_ns > self.shown_ns:
            self.shown_ns = at_ns


@dataclass
class House:
    """The machine, its streams and a calculator. `holes`: time between two series, as [start, end, next]."""

    meters: list[Meter]
    dead: set[str] = field(default_factory=set)  # streams that send nothing
    step_ns: int = S
    desk: Desk = field(default_factory=lambda: Desk(show=Watch().check))
    paper: Paper = field(default_factory=lambda: Paper(counts=False))
    covered: dict = field(default_factory=dict)  # [start, end] in time order, by zone
    changes: list = field(default_factory=list)
    firsts: dict = field(default_factory=dict)  # the first reading that was sent, by zone and epoch

    def __post_init__(self):
        self.paper.born(10, ROOT, A)
        self.begun_ns = self.paper.now_ns
        self._known = {}  # by zone: the newest reading, and all energy up to it
        for meter in self.meters:
            meter.begin(self.paper.now_ns)

    @property
    def now_ns(self):
        return self.paper.now_ns

    def meter(self, source):
        return next(one for one in self.meters if one.source == source)

    def frame(self, stream):
        meters = [one for one in self.meters if one.stream == stream]
        for one in meters:
            one.read(self.now_ns)
        rows = [one for one in meters if one.state != GONE]
        away = [one for one in meters if one.state == ABSENT]
        for one in rows:
            self.firsts.setdefault((one.name, one.epoch), one.shown_ns)
        self.paper.seq += 1
        return Power(
            **header(stream, self.paper.seq, self.now_ns, self.begun_ns),
            zones=PowerZones(
                zone=[one.zone for one in rows],
                index=[one.index for one in rows],
                source=[one.source for one in rows],
                provenance=[one.provenance for one in rows],
                model=[""] * len(rows),
                error_ratio_ppm=U32(0 for _one in rows),
                mono_ns=U64(one.shown_ns for one in rows),
                energy_uj=U64(one.energy_uj(one.shown_ns) for one in rows),
                raw=U64(0 for _one in rows),
                raw_range=U64(0 for _one in rows),
                raw_epoch=U64(0 for _one in rows),
                gaps=U32(one.gaps for one in rows),
                epoch=U64(one.epoch for one in rows),
                rank=U32(one.rank for one in rows),
                period_ns=U64(one.period_ns for one in rows),
                integration_uj=U64(one.integration_uj for one in rows),
            ),
            absent=AbsentZones(
                source=[one.source for one in away],
                zone=[one.zone for one in away],
                index=[one.index for one in away],
                why=[UNREADABLE for _one in away],
                reason=["Input/output error" for _one in away],
            ),
        )

    def seconds(self, count):
        for _second in range(count):
            self.step()

    def step(self):
        """A step of time; each living stream sends a frame."""
        self.paper.run(self.step_ns, {(PROCESS, 0): (0.4 * self.step_ns / S, 1, 1, 0)})
        for frame in (self.paper.metadata(), self.paper.activity()):
            self.desk.take(frame)
        for stream in dict.fromkeys(one.stream for one in self.meters):
            if stream not in self.dead:
                self.take(self.frame(stream))
        self.desk.state.tick(self.now_ns, self.desk.rules)
        self.look()

    def take(self, frame):
        self.desk.take(frame)
        self.look()

    def kill(self):
        """Another calculator goes on from the ledger, which was committed before the last frame was shown."""
        self.desk.ledger = self.desk.commit()
        self.desk.kill(self.paper.metadata())

    def look(self):
        """Note what has been covered since, by each series, and that no two of one slot cover the same."""
        self.desk.show(self.desk.tables())
        self.changes += self.desk.state.intake.take_changes()
        for name, zone in self.desk.state.zones.zones.items():
            if name[0] == "other":
                continue
            newest_ns, newest_uj = zone.meter.newest
            total_uj = zone.measured_uj + newest_uj - zone.meter.attributed_uj
            _before_ns, before_uj = self._known.get(name, (0, 0))
            power_uw = self.meter(name[2]).power_uw
            grown_ns = (total_uj - before_uj) * 1000 // power_uw * MS
            assert (total_uj - before_uj) * 1000 % power_uw == 0
            if grown_ns:
                self._cover(name, newest_ns - grown_ns, newest_ns)
            self._known[name] = (newest_ns, total_uj)

    def _cover(self, name, start_ns, end_ns):
        stretches = self.covered.setdefault(name, [])
        for other, theirs in self.covered.items():
            if other[0] == name[0]:
                for their_start_ns, their_end_ns in theirs:
                    is_whole = name[0] == "platform" or "node" in (name[1], other[1])
                    is_same = other[1] == name[1] or (is_whole and other[2] != name[2])
                    assert not is_same or end_ns <= their_start_ns or start_ns >= their_end_ns, (name, other)
        if stretches and stretches[-1][1] == start_ns:
            stretches[-1] = (stretches[-1][0], end_ns)
        else:
            stretches.append((start_ns, end_ns))

    def stretches(self):
        """All covered time, as (start, end, zone) in time order."""
        return sorted((*one, name) for name, all_of in self.covered.items() for one in all_of)

    def holes(self):
        """Time between two stretches that nothing covers, as (start, end, zone that follows)."""
        found, until_ns = [], self.begun_ns
        for start_ns, end_ns, name in self.stretches():
            if start_ns > until_ns:
                found.append((until_ns, start_ns, name))
            until_ns = max(until_ns, end_ns)
        return found

    def owner(self, zone="platform"):
        """The sources that own the zone."""
        return sorted({one.name[2] for one in self.desk.state.zones.slots.owners() if one.name[0] == zone})

    def total_uj(self):
        """Of all series together, with what waits for activity."""
        return sum(uj for _ns, uj in self._known.values())

    def gaps(self):
        """Of all series, but for `other`, which follows them."""
        zones = self.desk.tables()["zones"]
        return sum(gaps for zone, gaps in zip(zones.zone, zones.gaps, strict=True) if zone != "other")
