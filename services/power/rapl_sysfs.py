# SPDX-License-Identifier: Apache-2.0
"""Energy from the RAPL counters that the kernel shows in sysfs (powercap)."""

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

from wattline.wire.frames import Activity, SourceState
from wattline.zone_power import power_max_uw

from .counter import Account, Gap, Limits, Reading, Refused, resume
from .rapl_zones import SOURCE, RaplZone, find_zones
from .settings import PowerSettings
from .source import Former, Note, Readings, Source, ZoneEnergy, utc

_READ_BYTES = 64  # a 64-bit counter has at most 20 digits

Attempt = Reading | str  # a reading, or why there is none


def open_source(settings: PowerSettings, former: Former) -> Source | SourceState:
    """The RAPL zones of this node, or why none can be read."""
    powercap = settings.path_sysfs / "class" / "powercap"
    zones, passed_over = find_zones(powercap)
    failures: list[str] = []
    opened: list[tuple[ZoneMeter, Attempt]] = []
    for zone in zones:
        meter = ZoneMeter(zone)
        attempt = meter.attempt()
        if isinstance(attempt, str):
            failures.append(attempt)
        # One that is silent now is waited for only if a former run has counted it: see Former.resumable.
        if isinstance(attempt, Reading) or meter.zone in former.rows:
            opened.append((meter, attempt))
    if len(failures) == len(zones):
        return SourceState(name=SOURCE, up=False, reason=_why_none(powercap, [*failures, *passed_over]))
    return RaplSysfs(opened, former, [Note("zone_skipped", reason) for reason in passed_over + failures])


class ZoneMeter:
    """One zone's energy_uj, kept open: the kernel makes its text anew at each read from offset 0."""

    def __init__(self, found: RaplZone) -> None:
        self.zone = found.zone
        self.account = Account(Limits(found.range_uj, power_max_uw(found.zone.name, is_measured=True)))
        self._path = found.directory / "energy_uj"
        self._descriptor: int | None = None

    def attempt(self) -> Attempt:
        """The counter, at the middle of the time that reading it took, or why it could not be read."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            before_ns = time.monotonic_ns()
            data = os.pread(self._descriptor, _READ_BYTES, 0)
            after_ns = time.monotonic_ns()
            return Reading((before_ns + after_ns) // 2, parse_uj(data))
        except OSError as error:
            # A zone that went and came back (ENODEV) is another file under the same name.
            self.close()
            return f"{self.zone}: {self._path}: {error.strerror}{_cure(error)}"
        except ValueError as error:
            self.close()
            return f"{self.zone}: {self._path}: {error}"

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class RaplSysfs:
    """The RAPL zones that could be read at the start, or that a former run has counted."""

    follows_activity = False

    def __init__(
        self, opened: Sequence[tuple[ZoneMeter, Attempt]], former: Former, notes: Sequence[Note]
    ) -> None:
        self._meters = [meter for meter, _attempt in opened]
        self.zones = [meter.zone for meter in self._meters]
        self.notes = notes
        self.resumed = former.resumable(self.zones)
        self._unsaid: list[Note] = []
        for meter, attempt in opened:
            stopped = ""
            if self.resumed:
                last = former.rows[meter.zone]
                meter.account = _resume(meter.account.limits, last)
                stopped = utc(last.mono_ns + former.unix_minus_mono_ns)
            _row, note = account_for(meter, attempt, stopped)
            self._unsaid += [note] if note else []

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:  # noqa: ARG002 each reading has its own time
        """The zones that can be read now; the state says which can't."""
        rows: list[ZoneEnergy] = []
        notes, self._unsaid = self._unsaid, []
        missing: list[str] = []
        for meter in self._meters:
            row, note = account_for(meter, meter.attempt())
            if note:
                notes.append(note)
            if row:
                rows.append(row)
            elif note:
                missing.append(note.cause)
        return Readings(rows, SourceState(name=SOURCE, up=not missing, reason="; ".join(missing)), notes)

    def close(self) -> None:
        """Close all descriptors."""
        for meter in self._meters:
            meter.close()


def parse_uj(data: bytes) -> int:
    """A counter's text. Raises ValueError: an empty or torn read must not become a number."""
    text = data.strip()
    if not text.isdigit():
        raise ValueError(f"expected decimal microjoules, got {data!r:.80}")
    return int(text)


def account_for(
    meter: ZoneMeter, attempt: Attempt, stopped: str = ""
) -> tuple[ZoneEnergy | None, Note | None]:
    """The zone's row after an attempt to read it (none without a valid reading), and what to log.

    `stopped`: when the service stopped, if this is the first reading after that.
    """
    if isinstance(attempt, str):
        return None, Note("unreadable", attempt)
    account = meter.account
    last = account.last
    result = account.take(attempt)
    if isinstance(result, Refused):
        figures = {"raw_uj": attempt.raw_uj, "last_raw_uj": last.raw_uj if last else None}
        return None, Note("refused", f"{meter.zone}: reading rejected: {result.reason}", figures)
    row = ZoneEnergy(
        zone=meter.zone,
        mono_ns=attempt.mono_ns,
        energy_uj=account.energy_uj,
        raw=attempt.raw_uj,
        raw_range=account.limits.range_uj,
        gaps=account.gaps,
    )
    return row, _gap_note(meter, result, stopped) if isinstance(result, Gap) else None


def _gap_note(meter: ZoneMeter, gap: Gap, stopped: str) -> Note:
    if not (stopped and gap.is_pause):
        return Note("gap", f"{meter.zone}: {gap.reason}")
    return Note(
        "gap",
        f"{meter.zone}: energy between the stop at {stopped} and this start is not counted, since after "
        f"{meter.account.limits.pause_max_ns / 1e9:.0f} s its counter may have wrapped more than once",
        is_planned=True,
    )


def _resume(limits: Limits, row: ZoneEnergy) -> Account:
    return resume(limits, row.energy_uj, row.gaps, Reading(row.mono_ns, row.raw), row.raw_range)


def _cure(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return " (only root may, since Linux 5.10: start power as root, or give its user read access)"
    return ""


def _why_none(powercap: Path, reasons: Sequence[str]) -> str:
    if reasons:
        return "; ".join(reasons)
    return (
        f"no intel-rapl zones in {powercap}: a virtual machine, or the driver is not loaded; to measure, "
        "run on bare metal (or have RAPL shown to the guest) and `modprobe intel_rapl_msr`"
    )
