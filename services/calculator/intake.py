# SPDX-License-Identifier: Apache-2.0
"""Power frames into the books: the rows of owners are counted, those of spares are kept. Pure.

Which rows are whose is decided in slots.py. A series that takes over begins where the one before it ended.
"""

from dataclasses import dataclass, field

from wattline.second_look import AGREEING
from wattline.wire.frames import Power
from wattline.zone_power import power_max_uw

from .candidate import Candidate, Described
from .meter import Judgement, Meter
from .other import read_other
from .partition import ENDED_AFTER, PARTS, ZoneName
from .rules import Rules
from .slots import FIRST, Change, period_ns
from .zone import MEASURED, Reading, Zone
from .zones import OTHER, Zones


@dataclass
class Intake:
    """Takes frames into zones. `changes`: of owners, until they are taken."""

    zones: Zones
    changes: list[Change] = field(default_factory=list)

    def read(self, power: Power, rules: Rules) -> int:
        """Take the readings of a frame; return how many were rejected."""
        zones, slots = self.zones, self.zones.slots
        stream = power.producer
        if not slots.hear(stream, power.mono_ns, power.interval_ns):
            return len(power.zones)
        names, refused = self._read_rows(power, rules)
        refused += self._settle(rules)
        partition = zones.partition
        partition.is_told = partition.is_told or OTHER in power.zones.zone
        self._note_missing(stream, names)
        return refused + read_other(self.zones, rules)

    def tick(self, now_ns: int, rules: Rules) -> int:
        """Notice streams that send no frames; return how many readings were rejected."""
        self.zones.slots.advance(now_ns)
        refused = self._settle(rules)
        self._note_missing("", set())
        return refused + read_other(self.zones, rules)

    def take_changes(self) -> list[Change]:
        """The changes of owners since the last call."""
        changes, self.changes = self.changes, []
        return changes

    def _read_rows(self, power: Power, rules: Rules) -> tuple[set[ZoneName], int]:
        """The zones that have a row, other than as absent with their last one; and the rejected rows."""
        rows, epochs, slots = power.zones, power.zone_epochs(), self.zones.slots
        none = [0] * len(rows)
        ranks, periods_ns, integration_uj = (
            rows.rank or none,
            rows.period_ns or none,
            rows.integration_uj or none,
        )
        absent = set(zip(power.absent.zone, power.absent.index, power.absent.source, strict=True))
        names: set[ZoneName] = set()
        refused = 0
        for row in range(len(rows)):
            name = (rows.zone[row], rows.index[row], rows.source[row])
            # Its energy counts from when its publisher began to count: now, or when its epoch began.
            start_ns = epochs[row] if rows.energy_uj[row] else rows.mono_ns[row]
            reading = Reading(epochs[row], rows.mono_ns[row], rows.energy_uj[row])
            known = slots.find(name, power.producer)
            if name in absent and known is not None and reading.mono_ns <= self._newest_ns(known):
                continue  # its last row again, since there is no new one
            names.add(name)
            if reading.mono_ns < reading.epoch and not reading.energy_uj:
                continue  # nothing is counted yet
            if not reading.epoch <= reading.mono_ns <= power.mono_ns:
                refused += 1  # before it began, or of the future
                continue
            candidate = known
            if candidate is None and self.zones.has_room(name):
                candidate = slots.add(name, power.producer)
            if candidate is None:
                refused += 1
                continue
            described = Described(
                ranks[row],
                period_ns(periods_ns[row], power.interval_ns),
                rows.provenance[row],
                rows.model[row],
                rows.error_ratio_ppm[row],
                rows.gaps[row],
                integration_uj[row],
            )
            if known is not None and not self._accept_kind(candidate, described):
                refused += 1
                continue
            candidate.row = described
            refused += not self._take(candidate, reading, start_ns, rules)
        return names, refused

    def _accept_kind(self, candidate: Candidate, described: Described) -> bool:
        """Note whether a row is measured or estimated; False if it is to be rejected.

        The first rows of another kind than before are: one odd row must not end a series.
        """
        if (described.provenance != MEASURED) == candidate.is_estimated:
            candidate.turned = 0
            return True
        candidate.turned += 1
        if candidate.turned < AGREEING:
            return False
        candidate.turned = 0
        if candidate.is_owner:
            self._end(candidate)  # it has other rivals now: it is decided anew
        return True

    def _take(self, candidate: Candidate, reading: Reading, start_ns: int, rules: Rules) -> bool:
        """Take a reading; False if it is rejected."""
        newest_ns = self._newest_ns(candidate)
        if candidate.is_counted:
            zone = self.zones.zones[candidate.name]
            zone.seen_ns = self.zones.slots.awake_ns
            is_good = self._count(zone, candidate, reading, start_ns, rules)
        else:
            limit_uw = power_max_uw(candidate.name[0], is_measured=not candidate.is_estimated)
            is_good = candidate.read(reading, start_ns, limit_uw) is not Judgement.IMPOSSIBLE
        if not is_good:
            candidate.good = 0
        elif reading.mono_ns > newest_ns or not newest_ns:
            self.zones.slots.renew(candidate)
        return is_good

    def _count(self, zone: Zone, candidate: Candidate, reading: Reading, start_ns: int, rules: Rules) -> bool:
        """Count an owner's reading; False if it is rejected."""
        row = candidate.row
        zone.power_max_uw = power_max_uw(zone.name[0], is_measured=row.provenance == MEASURED)
        if not self.zones.read(zone, reading, rules):
            return False
        zone.gaps.take(row.gaps)
        zone.integration.take(row.integration_uj)
        zone.provenance, zone.model, zone.error_ratio_ppm = row.provenance, row.model, row.error_ratio_ppm
        self.zones.partition.read(zone.name, reading.epoch, start_ns, reading.mono_ns, reading.energy_uj)
        return True

    def _settle(self, rules: Rules) -> int:
        """Choose the owners, and begin their series; return for how many there is no room."""
        zones, slots = self.zones, self.zones.slots
        for change in slots.decide(zones.has_room):
            for former in change.previous:
                self._end(former)
            if change.reason != FIRST:
                self.changes.append(change)
        refused = 0
        rivals = {}
        for one in list(slots.candidates.values()):
            if one.is_owner:
                if not one.is_counted and one.curve is not None:
                    refused += not self._begin(one, rules)
            else:
                zone = one.name[0]
                if zone not in rivals:
                    rivals[zone] = slots.rivals_ns(zone, self._newest_ns)
                one.cut(rivals[zone](one))
        return refused

    def _end(self, former: Candidate) -> None:
        """End the series of an owner that has lost its slot."""
        zone = self.zones.zones.get(former.name) if former.is_counted else None
        if zone is not None:
            zone.missed = ENDED_AFTER
            self.zones.partition.end(zone.name)
        former.step_down(zone.meter if zone is not None else None)

    def _begin(self, owner: Candidate, rules: Rules) -> bool:
        """Begin an owner's series, or wait until it was read beyond its beginning; False without room."""
        zones = self.zones
        curve = owner.curve
        assert curve is not None
        if not zones.has_room(owner.name):
            return False
        zone = zones.zones.get(owner.name)
        others_ns = zones.covered_ns(owner)
        own_ns = zone.meter.newest[0] if zone is not None else 0
        if zone is not None and zone.stream in ("", owner.stream) and others_ns <= own_ns:
            self._resume(zone, owner, rules)
            return True
        if zone is not None and zone.meter.points and zone.missed >= ENDED_AFTER:
            return True  # its users up to its last reading are known only in the next window
        begin_ns = max(others_ns, own_ns)
        owner.cut(begin_ns)
        if curve.watermark_ns < begin_ns:
            return True
        epoch, start_ns, start_uj = curve.epoch, curve.watermark_ns, curve.attributed_uj
        if zone is None:
            zone = zones.add(owner.name, Meter(epoch, start_ns, start_uj, read_ns=start_ns, read_uj=start_uj))
        else:
            zones.go_on_at(zone, Reading(epoch, start_ns, start_uj), rules)
        if 0 < begin_ns < start_ns:
            zone.meter.gaps += 1
        zone.gaps.begin(owner.base.gaps)
        zone.integration.begin(owner.base.integration_uj)
        zone.takeovers += bool(others_ns)
        zones.partition.begin(zone.name, epoch, start_ns, start_uj)
        self._resume(zone, owner, rules)
        return True

    def _resume(self, zone: Zone, owner: Candidate, rules: Rules) -> None:
        """Count an owner's readings from here on, beginning with those in its curve."""
        curve = owner.curve
        assert curve is not None
        owner.is_counted, zone.stream = True, owner.stream
        zone.missed, zone.seen_ns = 0, self.zones.slots.awake_ns
        row = owner.row
        zone.provenance, zone.model, zone.error_ratio_ppm = row.provenance, row.model, row.error_ratio_ppm
        for mono_ns, energy_uj in curve.points or [curve.newest]:
            self._count(zone, owner, Reading(curve.epoch, mono_ns, energy_uj), curve.watermark_ns, rules)
        owner.curve, owner.is_unseen = None, False

    def _newest_ns(self, candidate: Candidate) -> int:
        if candidate.is_counted:
            return self.zones.zones[candidate.name].meter.newest[0]
        return candidate.newest_ns

    def _note_missing(self, stream: str, names: set[ZoneName]) -> None:
        """Note which zones have a row in the newest frame of their stream, and which have ended.

        `names`: those in the frame of `stream` that was just read.
        """
        zones, slots, partition = self.zones, self.zones.slots, self.zones.partition
        listed: set[ZoneName] = set()
        unchanged: set[ZoneName] = set()
        for owner in slots.owners():
            zone = zones.zones.get(owner.name) if owner.is_counted else None
            if zone is None:
                continue
            if owner.stream == stream:
                zone.missed = 0 if owner.name in names else min(zone.missed + 1, ENDED_AFTER)
                if owner.name in names:
                    listed.add(owner.name)
                elif not slots.is_away(owner) and slots.has_spare(owner):
                    unchanged.add(owner.name)  # until it is decided who counts from here on
            elif slots.has_ended(owner.stream) and slots.is_away(owner):
                zone.missed = ENDED_AFTER
                partition.end(owner.name)
            else:
                unchanged.add(owner.name)
        pending_ns = [ns for name, ns in zones.pending_ns().items() if name[0] in PARTS]
        partition.end_frame(listed, unchanged, pending_ns)
        owned = {owner.name for owner in slots.owners()}
        other = zones.other() if partition.is_listed and not partition.is_told else None
        for name, zone in zones.zones.items():
            if zone is other:
                zone.missed, zone.seen_ns = 0, slots.awake_ns
            elif name not in owned:
                zone.missed = min(zone.missed + 1, ENDED_AFTER)
