# SPDX-License-Identifier: Apache-2.0
"""One RAPL zone's counter: its file, its readings and its account."""

import os
import time
from typing import NamedTuple

from wattline.zone_power import power_max_uw

from .counter import Account, Gap, Limits, Reading, Refused, Step, resume
from .mirrors import Counter
from .rapl_zones import RaplZone, cure
from .source import Former, Level, Note, ZoneEnergy, utc

_READ_BYTES = 64  # a 64-bit counter has at most 20 digits


class Failure(NamedTuple):
    """Why a counter could not be read."""

    reason: str


class ZoneMeter:
    """One zone's energy_uj, kept open: the kernel makes its text anew at each read from offset 0."""

    def __init__(self, found: RaplZone, former: Former) -> None:
        self.zone = found.zone
        self.is_listed = True  # its directory is there
        self.missing = ""  # why it isn't known whether the directory is there
        self.epoch = 0  # 0: nothing counted yet
        self.account = Account(_limits(found))
        self.refused_in_row = 0  # newest readings that were not accepted
        self._directory = found.directory
        self._descriptor: int | None = None
        self._stopped = ""  # when the former run stopped, until this one's first reading
        if row := former.rows.get(found.zone):
            last = Reading(row.mono_ns, row.raw)
            self.epoch = row.epoch
            self.account = resume(self.account.limits, row.energy_uj, row.gaps, last, row.raw_range)
            self._stopped = utc(row.mono_ns + former.unix_minus_mono_ns)

    def place(self, found: RaplZone) -> None:
        """Take note of where the zone is now; with another range it is another counter."""
        if not self.is_listed:
            self.account.was_away()
        self.is_listed, self.missing = True, ""
        if found.directory != self._directory:
            self.close()
            self._directory = found.directory
        if self.account.limits != _limits(found):
            last = self.account
            self.account = Account(_limits(found), last.energy_uj, last.gaps + 1)

    def read(self) -> Counter | Failure:
        """The counter, at the middle of the time that reading it took, or why it could not be read."""
        path = self._directory / "energy_uj"
        if self.missing:
            return Failure(self.missing)
        try:
            if self._descriptor is None:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            before_ns = time.monotonic_ns()
            data = os.pread(self._descriptor, _READ_BYTES, 0)
            after_ns = time.monotonic_ns()
            reading = Reading((before_ns + after_ns) // 2, parse_uj(data))
        except OSError as error:
            # A zone that went and came back (ENODEV) is another file under the same name.
            self.close()
            return Failure(f"{self.zone}: {path}: {error.strerror}{cure(error)}")
        except ValueError as error:
            self.close()
            return Failure(f"{self.zone}: {path}: {error}")
        return Counter(reading, after_ns - before_ns, self.account.limits)

    def take(self, reading: Reading, now_ns: int) -> tuple[ZoneEnergy | None, Note | None]:
        """The zone's row after a reading (none if it is rejected), and what to log.

        `now_ns`: a time before the reading; the epoch, if this is the zone's first.
        """
        last = self.account.last
        result = self.account.take(reading)
        self.refused_in_row = self.refused_in_row + 1 if isinstance(result, Refused) else 0
        if isinstance(result, Refused):
            figures = {"raw_uj": reading.raw_uj, "last_raw_uj": last.raw_uj if last else None}
            if result.is_doubt:
                return None, Note(
                    "doubted", f"{self.zone}: reading put off: {result.reason}", figures, Level.INFO
                )
            return None, Note("refused", f"{self.zone}: reading rejected: {result.reason}", figures)
        self.epoch = self.epoch or now_ns
        return self._row(reading), self._note(result)

    def take_over(self, counted: "ZoneMeter") -> None:
        """Go on from another zone's last reading of the same counter, in an epoch that begins there."""
        self._begin(counted.account.last)

    def begin_here(self) -> None:
        """Begin a new epoch at the newest reading: the energy up to it was another zone's."""
        self._begin(self.account.last)

    def _begin(self, last: Reading | None) -> None:
        self.account = Account(self.account.limits, last=last)
        self.epoch = last.mono_ns if last is not None else 0

    def row(self) -> ZoneEnergy | None:
        """The row of the newest accepted reading."""
        return None if self.account.last is None else self._row(self.account.last)

    def _row(self, reading: Reading) -> ZoneEnergy:
        return ZoneEnergy(
            zone=self.zone,
            epoch=self.epoch,
            mono_ns=reading.mono_ns,
            energy_uj=self.account.energy_uj,
            raw=reading.raw_uj,
            raw_range=self.account.limits.range_uj,
            gaps=self.account.gaps,
        )

    def _note(self, result: Step) -> Note | None:
        stopped, self._stopped = self._stopped, ""
        if not isinstance(result, Gap):
            return None
        if not (stopped and result.is_pause):
            return Note("gap", f"{self.zone}: {result.reason}")
        return Note(
            "gap",
            f"{self.zone}: energy between the stop at {stopped} and this start is not counted, since after "
            f"{self.account.limits.pause_max_ns / 1e9:.0f} s its counter may have wrapped more than once",
            level=Level.INFO,
        )

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def parse_uj(data: bytes) -> int:
    """A counter's text. Raises ValueError: an empty or torn read must not become a number."""
    text = data.strip()
    if not text.isdigit():
        raise ValueError(f"expected decimal microjoules, got {data!r:.80}")
    return int(text)


def _limits(found: RaplZone) -> Limits:
    return Limits(found.range_uj, power_max_uw(found.zone.name, is_measured=True))
