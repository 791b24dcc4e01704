# SPDX-License-Identifier: Apache-2.0
"""A source that does what a test wants, and its use in a set of sources."""

import itertools
from dataclasses import dataclass, field, replace

from services.power.guarded import Use
from services.power.source import ESTIMATED, MEASURED, Former, Readings, Zone, ZoneEnergy
from services.power.sources import Way
from wattline.wire.frames import SourceState

from .world import Clock

_places = itertools.count()


def row(clock, name="package", index="0", source="one", provenance=MEASURED, **more) -> ZoneEnergy:
    more = {"epoch": 1, "mono_ns": clock.now_ns, "energy_uj": 0, "raw": 0} | more
    return ZoneEnergy(Zone(name, index, source, provenance), **more)


@dataclass
class FakeSource:
    """Gives `rows` with the time of the reading, or what `answer` makes."""

    clock: Clock
    name: str = "one"
    zone_names: list[str] = field(default_factory=lambda: ["package"])
    way: Way = Way.TICK
    is_named: bool = False
    is_silent: bool = False  # its rows are repeated
    is_missing: bool = False  # this machine has no such meter
    error: Exception | None = None
    open_error: Exception | None = None
    period_ns: int = 0
    lag_ns: int = 0
    opened: list[Former] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    begun_ns: int = 0
    rows: list[ZoneEnergy] = field(default_factory=list)

    def use(self, rank=None) -> Use:
        return Use(
            self.name, next(_places) if rank is None else rank, self.way, self._open, is_named=self.is_named
        )

    def _open(self, former, _now_ns):
        if self.open_error:
            raise self.open_error
        self.opened.append(former)
        self.rows = [row for row in former.rows.values() if row.zone.source == self.name]
        self.begun_ns = 0
        return self

    @property
    def zones(self):
        return [] if self.is_missing else [row.zone for row in self.rows] or self._zones()

    def _zones(self):
        provenance = ESTIMATED if self.way is Way.ESTIMATE else MEASURED
        return [] if self.is_silent else [Zone(name, "0", self.name, provenance) for name in self.zone_names]

    @property
    def resumed(self):
        return bool(self.opened and self.opened[-1].rows)

    @property
    def follows_activity(self):
        return self.way is Way.ESTIMATE

    def on_activity(self, _activity):
        self.calls.append("on_activity")

    def read(self, _now_ns):
        self.calls.append("read")
        if self.error:
            raise self.error
        if self.is_missing:
            return Readings([], SourceState(name=self.name, up=False, reason="not here"), nothing_found=True)
        if not self.is_silent:
            mono_ns = self.clock.now_ns - self.lag_ns
            self.begun_ns = self.begun_ns or mono_ns
            self.rows = [
                ZoneEnergy(zone, self.begun_ns, mono_ns, mono_ns - self.begun_ns, 0, period_ns=self.period_ns)
                for zone in self._zones()
            ]
        is_up = bool(self.rows) and not self.is_silent
        return Readings(
            list(self.rows), SourceState(name=self.name, up=is_up, reason="" if is_up else "silent")
        )

    def begin_again(self):
        self.calls.append("begin_again")
        self.rows, self.begun_ns = [], 0

    def close(self):
        self.calls.append("close")


def former_of(rows) -> Former:
    rows = [replace(row) for row in rows]
    return Former(1, {row.zone: row for row in rows}, 0, max((row.mono_ns for row in rows), default=0))
