# SPDX-License-Identifier: Apache-2.0
"""The zones and their books: from readings and windows to attributed energy. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from wattline.second_look import SecondLook
from wattline.wire.frames import Power
from wattline.zone_power import NODE_POWER_MAX_W, power_max_uw

from .accounts import Accounts
from .attribute import NO_USE, POWER_GAP, Giving, MembersNow
from .idle import FIXED, OBSERVED_MIN, Estimate, IdlePower
from .meter import Judgement, Meter, Point, thinned
from .model import PowerModel
from .partition import ENDED_AFTER, Partition, ZoneName
from .rules import MODEL, Rules
from .share import choose, learn
from .timeline import Timeline, Window
from .use_curve import UseCurve

_UW_PER_UJ_NS = 1_000_000_000  # µW × ns = 10⁻⁹ µJ
_GAPS_MAX = 2**32 - 1  # what the wire and the ledger hold
OTHER = "other"
MEASURED = "measured"
_NS_PER_S = 1_000_000_000
ZONES_MAX = 256  # in the books for good, so that no total falls; a frame may have as many
# After so long without a row a zone has gone: should it come back, who ran meanwhile is not known any more.
_AWAY_NS = 300 * _NS_PER_S
# Zones that a machine may have one of in each socket, their index beginning with the socket's number.
_OF_SOCKETS = ("package", "core", "uncore", "dram")


class Reading(NamedTuple):
    """A zone's cumulative energy in an epoch of its publisher."""

    epoch: int
    mono_ns: int
    energy_uj: int


@dataclass
class Zone:
    """One zone of one source. measured = idle + dynamic, in µJ, up to the meter's watermark."""

    name: ZoneName
    number: int  # its column in the books
    meter: Meter
    provenance: str = ""
    model: str = ""
    error_ratio_ppm: int = 0
    gaps: int = 0  # those that the publisher has told of in former epochs
    told_gaps: int = 0  # in this one
    measured_uj: int = 0
    idle_uj: int = 0
    idle_remainder: int = 0  # µW·ns short of a whole µJ
    idle_seen: IdlePower = field(default_factory=IdlePower)
    power_model: PowerModel = field(default_factory=PowerModel)
    share_by: str = ""
    unlearned: list[Point] = field(default_factory=list)  # readings that idle power is to be learned from
    seen_ns: int = 0  # time of the newest power frame that lists it, other than as absent with its last row
    missed: int = 0  # power frames since, which don't
    reading_interval_ns: int = 0  # between its two newest readings
    power_max_uw: int = NODE_POWER_MAX_W * 1_000_000
    rejected: SecondLook[Reading] = field(default_factory=SecondLook)

    def follows(self, earlier: Reading, later: Reading) -> bool:
        """Return True if two readings agree, the later of them second."""
        meter = Meter(earlier.epoch, earlier.mono_ns, earlier.energy_uj)
        return earlier.epoch == later.epoch and meter.judge(*later, self.power_max_uw) is Judgement.NEWER

    def idle(self, rules: Rules) -> Estimate:
        """Its idle power, by the rule in force."""
        fixed_uw = rules.fixed_uw(self.name[0], self.name[1])
        if fixed_uw is not None:
            return Estimate(fixed_uw, 0, FIXED)
        return self.idle_seen.observed_min() if rules.idle_power == OBSERVED_MIN else self.idle_seen.learned()

    def split(self, energy_uj: int, time_ns: int, idle_power_uw: int) -> tuple[int, int]:
        """(idle, dynamic) of some energy (formula 4): idle power times time, never more than there was."""
        exact = idle_power_uw * time_ns + self.idle_remainder
        idle_uj = exact // _UW_PER_UJ_NS
        if idle_uj > energy_uj:
            idle_uj, exact = energy_uj, 0
        self.idle_remainder = exact % _UW_PER_UJ_NS
        self.measured_uj += energy_uj
        self.idle_uj += idle_uj
        return idle_uj, energy_uj - idle_uj


@dataclass
class Zones:
    """All zones, in the order in which they appeared: the order of their columns in the books."""

    accounts: Accounts
    zones: dict[ZoneName, Zone] = field(default_factory=dict)
    partition: Partition = field(default_factory=Partition)
    _has_booked: bool = False  # energy of a gap, while reading
    _covered: dict[tuple[str, str], set[int]] = field(default_factory=dict)  # sockets, by zone and source

    def read(self, power: Power, rules: Rules) -> int:
        """Take the readings of a frame; return how many were rejected."""
        rows, epochs = power.zones, power.zone_epochs()
        refused = 0
        absent = set(zip(power.absent.zone, power.absent.index, power.absent.source, strict=True))
        names: set[ZoneName] = set()
        for row in range(len(rows)):
            name = (rows.zone[row], rows.index[row], rows.source[row])
            # Its energy counts from when its publisher began to count: now, or when its epoch began.
            start_ns = epochs[row] if rows.energy_uj[row] else rows.mono_ns[row]
            reading = Reading(epochs[row], rows.mono_ns[row], rows.energy_uj[row])
            known = self.zones.get(name)
            if name in absent and known is not None and reading.mono_ns <= known.meter.newest[0]:
                continue  # its last row again, since there is no new one
            names.add(name)
            if reading.mono_ns < reading.epoch and not reading.energy_uj:
                continue  # nothing is counted yet
            if not reading.epoch <= reading.mono_ns <= power.mono_ns or not self.has_room(name):
                refused += 1  # before it began, of the future, or one zone too many
                continue
            zone = self._zone(name, epochs[row], start_ns)
            zone.power_max_uw = power_max_uw(name[0], is_measured=rows.provenance[row] == MEASURED)
            zone.seen_ns = power.mono_ns
            if self._read(zone, reading, rules):
                zone.told_gaps = max(zone.told_gaps, rows.gaps[row])
                zone.provenance, zone.model = rows.provenance[row], rows.model[row]
                zone.error_ratio_ppm = rows.error_ratio_ppm[row]
                self.partition.read(name, epochs[row], start_ns, reading.mono_ns, reading.energy_uj)
            else:
                refused += 1
        self.partition.is_told = self.partition.is_told or OTHER in rows.zone
        self.partition.end_frame(names)
        if self.partition.is_listed and not self.partition.is_told:
            names.add((OTHER, self.partition.index, self.partition.source))
        for name, zone in self.zones.items():
            zone.missed = 0 if name in names else min(zone.missed + 1, ENDED_AFTER)
        return refused + self._read_other(power.mono_ns, rules)

    def _read_other(self, now_ns: int, rules: Rules) -> int:
        partition, refused = self.partition, 0
        name = (OTHER, partition.index, partition.source)
        for mono_ns, energy_uj in partition.readings():
            if not self.has_room(name):
                return refused + 1
            zone = self._zone(name, partition.epoch, partition.epoch)
            refused += not self._read(zone, Reading(partition.epoch, mono_ns, energy_uj), rules)
            within = [self.zones[part] for part in partition.listed]
            zone.provenance = MEASURED if all(one.provenance == MEASURED for one in within) else "estimated"
        if name in self.zones and partition.is_listed and not partition.is_told:
            self.zones[name].seen_ns = now_ns
        return refused

    def has_room(self, name: ZoneName) -> bool:
        """Return True if a zone is known, or the books have room for one more."""
        if name in self.zones:
            return True
        return len(self.zones) < ZONES_MAX and self.accounts.has_room(zones=len(self.zones) + 1)

    def _zone(self, name: ZoneName, epoch: int, start_ns: int) -> Zone:
        zone = self.zones.get(name)
        if zone is None:
            meter = Meter(epoch, start_ns, read_ns=start_ns)
            zone = self.zones[name] = Zone(name, self.accounts.add_zone(), meter)
            self._covered.clear()
        return zone

    def _read(self, zone: Zone, reading: Reading, rules: Rules) -> bool:
        """Take a reading; False if it can't be right, and is not the last of several that agree."""
        meter = zone.meter
        judgement = meter.judge(*reading, zone.power_max_uw)
        if judgement is Judgement.LATE:
            return True
        if judgement is Judgement.IMPOSSIBLE and not zone.rejected.reject(reading, zone.follows):
            return False
        is_contradiction = judgement is Judgement.IMPOSSIBLE
        if is_contradiction or reading.epoch != meter.epoch:
            zone.unlearned = []
            zone.gaps, zone.told_gaps = min(zone.gaps + zone.told_gaps, _GAPS_MAX), 0
            if meter.points:
                _book_unwatched(zone, meter.points[-1][0], POWER_GAP, self.accounts, rules)
                self._has_booked = True
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
            _book_unwatched(zone, read_ns, later[0].gap or NO_USE, self.accounts, rules)
        return True

    def watermarks_ns(self, now_ns: int, *, of_gpu: str | None = None) -> list[int]:
        """Where the zones stand that are there, and go by a GPU's timeline, or by the CPUs'."""
        return [
            zone.meter.watermark_ns
            for zone in self.zones.values()
            if (zone.name[1] if zone.name[0] == "gpu" else None) == of_gpu
            and now_ns - zone.seen_ns <= _AWAY_NS
        ]

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
            _book_unwatched(zone, window.start_ns, window.gap or NO_USE, self.accounts, rules)
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


def _book_unwatched(zone: Zone, until_ns: int, reason: str, accounts: Accounts, rules: Rules) -> None:
    """Energy of a time in which nobody watched who used the CPU is not spread over those seen later."""
    time_ns = until_ns - zone.meter.watermark_ns
    idle_uj, dynamic_uj = zone.split(zone.meter.take_until(until_ns), time_ns, zone.idle(rules).power_uw)
    accounts.leave_unattributed(zone.number, "idle", reason, idle_uj)
    accounts.leave_unattributed(zone.number, "dynamic", reason, dynamic_uj)
