# SPDX-License-Identifier: Apache-2.0
"""The whole machine's energy as RAPL's zone psys shows it.

It is the counter of a RAPL zone that is read anyway, so its rows are made of that zone's, without a second
reading. On many machines the counter isn't wired and stands still; then there is no row.
Source: Intel SDM volume 3B, MSR_PLATFORM_ENERGY_COUNTER; drivers/powercap/intel_rapl_common.c, Linux 6.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wattline.wire.frames import Activity, SourceState

from .settings import PowerSettings
from .source import MEASURED, Former, Level, Note, Readings, Source, Zone, ZoneEnergy

SOURCE = "psys"
# So many readings in a row in which it stood still while a package went on show that a counter isn't wired.
STILL_MAX = 3
_PSYS, _PACKAGE, _PLATFORM = "psys", "package", "platform"


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:  # noqa: ARG001 needs neither
    """The rows that RAPL's psys zones give."""
    return Psys(former)


@dataclass
class _Series:
    """One series: energy of the row that it is made of, from a row's energy on."""

    made_of: ZoneEnergy  # the newest row of RAPL's
    epoch: int
    from_uj: int
    is_wired: bool = False
    still: int = 0

    def row(self) -> ZoneEnergy:
        zone = Zone(_PLATFORM, self.made_of.zone.index, SOURCE, MEASURED)
        energy_uj = self.made_of.energy_uj - self.from_uj
        return replace(self.made_of, zone=zone, epoch=self.epoch, energy_uj=energy_uj)

    def is_of(self, row: ZoneEnergy) -> bool:
        return (row.zone, row.epoch) == (self.made_of.zone, self.made_of.epoch)


class Psys:
    """Platform rows made of RAPL's psys rows."""

    follows_activity = False

    def __init__(self, former: Former) -> None:
        self._series: dict[str, _Series] = {}  # by index
        self._covered_ns = former.until_ns  # up to when there may be energy in an earlier series
        self._packages: dict[Zone, int] = {}  # energy of each at the last reading
        self._rows: Sequence[ZoneEnergy] = []
        for index, row in _psys(list(former.rows.values())).items():
            own = former.rows.get(Zone(_PLATFORM, index, SOURCE, MEASURED))
            if own is not None and (own.mono_ns, own.raw) == (row.mono_ns, row.raw):
                self._series[index] = _Series(row, own.epoch, row.energy_uj - own.energy_uj, is_wired=True)
        self.resumed = bool(self._series)

    @property
    def zones(self) -> Sequence[Zone]:
        """Those whose counter is known to advance."""
        return [series.row().zone for series in self._series.values() if series.is_wired]

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def on_rows(self, rows: Sequence[ZoneEnergy]) -> None:
        """Take the rows of this tick."""
        self._rows = rows

    def read(self, now_ns: int) -> Readings:  # noqa: ARG002 the rows have their own times
        """One row per psys zone whose counter advances."""
        rows, notes, unwired = [], [], []
        found = _psys(self._rows)
        has_advanced = self._has_package_advanced()
        self._series = {index: series for index, series in self._series.items() if index in found}
        for index, row in found.items():
            series = self._series.get(index)
            if series is None or not series.is_of(row):
                self._series[index] = series = self._begun(row)
            elif row.energy_uj > series.made_of.energy_uj:
                series.is_wired, series.still = True, 0
            elif has_advanced and row.mono_ns > series.made_of.mono_ns:
                series.still += 1
                if series.still == STILL_MAX:
                    notes.append(Note("zone_skipped", _still(row), level=Level.INFO))
            series.made_of = row
            if series.is_wired and series.still < STILL_MAX:
                rows.append(series.row())
            else:
                unwired.append(_still(row))
        self._covered_ns = max((row.mono_ns for row in rows), default=self._covered_ns)
        reason = "" if rows else "; ".join(unwired) or "RAPL shows no zone psys here"
        state = SourceState(name=SOURCE, up=bool(rows), reason=reason)
        return Readings(rows, state, notes, nothing_found=not rows)

    def begin_again(self) -> None:
        """End all series."""
        self._series = {}

    def close(self) -> None:
        """Nothing is open."""

    def _begun(self, row: ZoneEnergy) -> _Series:
        """A series with the row's own energy, unless an earlier series has some of that."""
        if row.epoch < self._covered_ns:
            return _Series(row, row.mono_ns, row.energy_uj)
        return _Series(row, row.epoch, 0, is_wired=row.energy_uj > 0)

    def _has_package_advanced(self) -> bool:
        now = {row.zone: row.energy_uj for row in self._rows if row.zone.name == _PACKAGE}
        before, self._packages = self._packages, now
        return any(energy_uj > before.get(zone, energy_uj) for zone, energy_uj in now.items())


def _psys(rows: Sequence[ZoneEnergy]) -> Mapping[str, ZoneEnergy]:
    """The best source's row of each psys zone, by index."""
    ordered = sorted((row for row in rows if row.zone.name == _PSYS), key=lambda row: row.rank, reverse=True)
    return {row.zone.index: row for row in ordered}


def _still(row: ZoneEnergy) -> str:
    return (
        f"{row.zone} of {row.zone.source} stands still while packages go on: it isn't wired on many machines"
    )
