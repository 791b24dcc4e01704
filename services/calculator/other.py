# SPDX-License-Identifier: Apache-2.0
"""The readings of the zone `other` into the books. Pure; what they are is in partition.py."""

from .meter import Meter
from .partition import ZoneName
from .rules import Rules
from .zone import MEASURED, Reading, Zone
from .zones import OTHER, Zones


def read_other(zones: Zones, rules: Rules) -> int:
    """Take what is new of the zone `other`; return how many readings were rejected."""
    refused = _count(zones, rules)
    while zones.partition.switch():
        refused += _count(zones, rules)
    return refused


def _count(zones: Zones, rules: Rules) -> int:
    partition, refused = zones.partition, 0
    name = (OTHER, partition.index, partition.source)
    newest_ns = partition.bound_ns
    for newest_ns, energy_uj in partition.readings():
        zone = zones.zones.get(name)
        if zone is None and not zones.has_room(name):
            return 1
        if zone is None or zone.meter.epoch != partition.epoch:
            zone = _begin(zones, zone, name, rules)
        refused += not zones.read(zone, Reading(partition.epoch, newest_ns, energy_uj), rules)
        within = [zones.zones[part] for part in partition.listed]
        zone.provenance = MEASURED if all(one.is_measured for one in within) else "estimated"
    if name in zones.zones and partition.bound_ns > newest_ns:
        zones.zones[name].meter.gaps += 1  # the platform's count began anew: not read up to there
    return refused


def _begin(zones: Zones, zone: Zone | None, name: ZoneName, rules: Rules) -> Zone:
    """Begin the series of the platform's present owner, or let it go on; a gap, if time was skipped."""
    begin_ns = zones.partition.epoch
    ended_ns = max((one.meter.newest[0] for of, one in zones.zones.items() if of[0] == OTHER), default=0)
    if zone is None:
        zone = zones.add(name, Meter(begin_ns, begin_ns, read_ns=begin_ns))
    else:
        zones.go_on_at(zone, Reading(begin_ns, max(begin_ns, zone.meter.newest[0]), 0), rules)
    zone.meter.gaps += 0 < ended_ns < begin_ns
    return zone
