# SPDX-License-Identifier: Apache-2.0
"""The zones and their books: from readings and windows to attributed energy. Pure."""

from dataclasses import dataclass, field

from wattline.wire.frames import Power

from .attribute import NO_USE, POWER_GAP, attribute_dynamic, attribute_idle
from .books import Books
from .idle import IdlePower
from .meter import Meter
from .timeline import Timeline, Window

ZoneName = tuple[str, str, str]  # zone, index, source
_UW_PER_UJ_NS = 1_000_000_000  # µW × ns = 10⁻⁹ µJ


@dataclass
class Zone:
    """One zone of one source. measured = idle + dynamic, in µJ, up to the meter's watermark."""

    name: ZoneName
    number: int  # its column in the books
    meter: Meter
    provenance: str = ""
    model: str = ""
    error_ratio_ppm: int = 0
    gaps: int = 0  # those the publisher has told of
    measured_uj: int = 0
    idle_uj: int = 0
    idle_remainder: int = 0  # µW·ns short of a whole µJ
    idle_power: IdlePower = field(default_factory=IdlePower)

    def split(self, energy_uj: int, time_ns: int) -> tuple[int, int]:
        """(idle, dynamic) of some energy (formula 4): idle power times time, never more than there was."""
        exact = self.idle_power.power_uw * time_ns + self.idle_remainder
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

    zones: dict[ZoneName, Zone] = field(default_factory=dict)

    def read(self, power: Power, books: Books) -> int:
        """Take the readings of a frame; how many were refused because energy fell."""
        rows = power.zones
        refused = 0
        for row in range(len(rows)):
            name = (rows.zone[row], rows.index[row], rows.source[row])
            zone = self.zones.get(name)
            if zone is None:
                # Its energy counts from when its publisher began to count: now, or when its epoch began.
                start_ns = power.epoch if rows.energy_uj[row] else rows.mono_ns[row]
                zone = Zone(name, books.add_zone(), Meter(power.epoch, start_ns))
                self.zones[name] = zone
            if power.epoch != zone.meter.epoch and zone.meter.points:
                _book_unwatched(zone, zone.meter.points[-1][0], POWER_GAP, books)
            newest_ns = zone.meter.points[-1][0] if zone.meter.points else zone.meter.watermark_ns
            accepted = zone.meter.read(power.epoch, rows.mono_ns[row], rows.energy_uj[row])
            refused += not accepted and rows.mono_ns[row] > newest_ns
            zone.provenance, zone.model = rows.provenance[row], rows.model[row]
            zone.error_ratio_ppm, zone.gaps = rows.error_ratio_ppm[row], rows.gaps[row]
        return refused

    def attribute(self, timeline: Timeline, books: Books, policy: str) -> bool:
        """Advance every zone as far as its meter and the activity reach; whether any did."""
        advanced = False
        for zone in self.zones.values():
            # One reading at a time: each closes the window of its own meter.
            for read_ns in [mono_ns for mono_ns, _energy in zone.meter.points]:
                for window in timeline.runs(zone.meter.watermark_ns, read_ns):
                    _attribute_window(zone, window, books, policy)
                    advanced = True
        if self.zones:
            timeline.drop_until(min(zone.meter.watermark_ns for zone in self.zones.values()))
        return advanced

    def watermarks_ns(self) -> list[int]:
        """Where the zones stand."""
        return [zone.meter.watermark_ns for zone in self.zones.values()]


def _attribute_window(zone: Zone, window: Window, books: Books, policy: str) -> None:
    if window.start_ns > zone.meter.watermark_ns:
        _book_unwatched(zone, window.start_ns, window.gap or NO_USE, books)
    time_ns = window.end_ns - zone.meter.watermark_ns
    energy_uj = zone.meter.take_until(window.end_ns)
    zone.idle_power.observe(energy_uj, time_ns, window.busy_ns, window.capacity_ns)
    idle_uj, dynamic_uj = zone.split(energy_uj, time_ns)
    attribute_idle(books, zone.number, idle_uj, policy)
    attribute_dynamic(books, zone.number, dynamic_uj, window)


def _book_unwatched(zone: Zone, until_ns: int, reason: str, books: Books) -> None:
    """Energy of a time in which nobody watched who used the CPU is not spread over those seen later."""
    time_ns = until_ns - zone.meter.watermark_ns
    idle_uj, dynamic_uj = zone.split(zone.meter.take_until(until_ns), time_ns)
    books.leave_unattributed(zone.number, "idle", reason, idle_uj)
    books.leave_unattributed(zone.number, "dynamic", reason, dynamic_uj)
