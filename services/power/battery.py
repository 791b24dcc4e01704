# SPDX-License-Identifier: Apache-2.0
"""The platform zone of a laptop that runs on its batteries: the power that all of them give together."""

from collections.abc import Sequence

from wattline.wire.frames import UNREADABLE, Activity, SourceState
from wattline.zone_power import power_max_uw

from .battery_files import Batteries
from .channel import Sample, sampled
from .counter import Gap, Refused
from .gauge import GaugeAccount, GaugeLimits
from .hwmon_read import bridge_ns
from .settings import PowerSettings
from .source import MEASURED, Absent, Former, Level, Note, Readings, Source, Zone, ZoneEnergy

SOURCE = "battery"
ZONE = Zone("platform", "battery", SOURCE, MEASURED)
# Firmware shows 0 W for a moment after the plug is pulled. More readings of it in a row are a fault.
_ZEROS_MAX = 5


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The platform zone while nothing but batteries feeds the machine. Its files are readable by anybody."""
    return Battery(settings, former, now_ns)


class Battery:
    """One row for all batteries, which goes on only while they alone feed the machine.

    With a plug in, the row stays as it is and the source is up: it has nothing to measure, which is no fault.
    Energy of that time is not counted. It ends in a gap, also where it was shorter than a gauge may bridge.
    """

    follows_activity = False

    def __init__(self, settings: PowerSettings, former: Former, now_ns: int) -> None:
        """Take the first reading, if the machine is on battery."""
        self._batteries = Batteries(settings.path_sysfs)
        self._limits = GaugeLimits(bridge_ns(settings.interval_ns), power_max_uw(ZONE.name, is_measured=True))
        self._account = GaugeAccount(self._limits)
        self._row = former.rows.get(ZONE)
        self._epoch = 0
        self._is_resumed = self._row is not None
        self._is_paused, self._has_read = False, False
        self._zeros = 0
        if self._row is not None:
            row = self._row
            self._epoch = row.epoch
            self._account.energy_uj, self._account.gaps = row.energy_uj, row.gaps
            self._account.integration_uj = row.integration_uj
            self._account.last = Sample(row.mono_ns, row.raw)
        self._unsaid: Sequence[Note] = ()
        self._batteries_there = False
        self._unsaid = self.read(now_ns).notes

    @property
    def zones(self) -> Sequence[Zone]:
        """The one zone, once it has been read."""
        return [ZONE] if self._epoch else []

    @property
    def resumed(self) -> bool:
        """True if it goes on from the previous run's row."""
        return self._is_resumed

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Return the zone's energy up to now, or up to when the machine was plugged in."""
        notes, self._unsaid = list(self._unsaid), ()
        reason = ""
        try:
            batteries = self._batteries.look()
            self._batteries_there = batteries.has_any
            if not batteries.has_any:
                reason = batteries.why_none
            elif batteries.is_only_supply:
                reason = self._take(now_ns, notes)
            else:
                self._pause(notes)
        except (OSError, ValueError) as error:
            reason = f"{ZONE}: {getattr(error, 'strerror', None) or error}"
            notes.append(Note("unreadable", reason))
            absent = [Absent(SOURCE, ZONE.name, ZONE.index, UNREADABLE, reason)]
            return self._readings(reason, notes, absent)
        return self._readings(reason, notes, ())

    def begin_again(self) -> None:
        """End the series. A later reading begins at 0 in a new epoch."""
        self._account = GaugeAccount(self._limits)
        self._row, self._epoch, self._is_resumed, self._is_paused = None, 0, False, False

    def close(self) -> None:
        """Nothing is open between readings."""

    def _readings(self, reason: str, notes: Sequence[Note], absent: Sequence[Absent]) -> Readings:
        rows = [] if self._row is None else [self._row]
        is_none = not (rows or absent or self._batteries_there)
        return Readings(rows, SourceState(name=SOURCE, up=not reason, reason=reason), notes, absent, is_none)

    def _pause(self, notes: list[Note]) -> None:
        self._zeros = 0
        if self._is_paused or self._account.last is None:
            return
        self._is_paused = True
        self._account.last = None
        self._account.gaps += 1
        cause = f"{ZONE}: not on battery: no energy is counted until it is"
        notes.append(Note("paused", cause, level=Level.INFO))

    def _take(self, now_ns: int, notes: list[Note]) -> str:
        """Account for the power now; return what is wrong with it, if anything is."""
        sample = sampled(self._batteries.power_uw)
        self._zeros = 0 if sample.value else self._zeros + 1
        if self._zeros > _ZEROS_MAX:
            raise ValueError("expected more than 0 W from batteries that discharge, got 0")
        if self._zeros:
            return ""
        if self._account.last is not None and sample.mono_ns <= self._account.last.mono_ns:
            return ""
        result = self._account.take(sample)
        if isinstance(result, Refused):
            notes.append(Note("refused", f"{ZONE}: reading rejected: {result.reason}", {"raw": sample.value}))
            return notes[-1].cause
        if isinstance(result, Gap):
            level = (
                Level.COUNTED if self._has_read else Level.INFO
            )  # the first one spans a stop of this service
            notes.append(Note("gap", f"{ZONE}: {result.reason}", level=level))
        self._is_paused, self._has_read = False, True
        self._epoch = self._epoch or min(now_ns, sample.mono_ns)
        self._row = ZoneEnergy(
            zone=ZONE,
            epoch=self._epoch,
            mono_ns=sample.mono_ns,
            energy_uj=self._account.energy_uj,
            raw=sample.value,
            gaps=self._account.gaps,
            integration_uj=self._account.integration_uj,
        )
        return ""
