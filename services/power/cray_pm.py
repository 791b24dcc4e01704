# SPDX-License-Identifier: Apache-2.0
"""Energy of HPE Cray nodes: the counters (pm_counters) that the node's controller renews ten times a second.

Source: HPE Cray System Management documentation, "User Access to Compute Node Power Data".
"""

import re
from functools import partial
from pathlib import Path

from wattline.wire.frames import WHOLE_MACHINE

from .channel import Channel, Found, Kind, Sample, sampled
from .hwmon_files import check_energy, read_natural, read_text
from .metered import Metered
from .settings import PowerSettings
from .source import MEASURED, Former, Source, Zone

SOURCE = "cray-pm"
# The files that have a zone. Accelerators (accel_energy, accelN_energy) are left to the sources of GPUs.
ZONES = {"cpu_energy": "package", "memory_energy": "dram", "energy": "platform"}
_UJ_PER_J = 1_000_000
_TRIES = 3
# A counter that is renewed at 10 Hz and stands still for so long isn't renewed any more.
STALE_NS = 5_000_000_000
# The second figure, where there is one, is the time by the controller's clock.
_VALUE = re.compile("([0-9]{1,13}) J(?: +[0-9]{1,20} us)?")


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The zones of a Cray node. Its files are readable by anybody."""
    directory = settings.path_sysfs / "cray" / "pm_counters"
    return Metered(SOURCE, Counters(directory).find, former, now_ns)


class Counters:
    """The files of one node, read as one set.

    A set is read between two readings of `freshness`. If that has moved, the files may be of two renewals,
    and are read again. While `freshness` stands still, there is no new reading. A reading is up to one
    renewal (0.1 s) older than its time.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._channels: dict[str, Channel] = {}
        self._set: dict[str, Sample | Exception] = {}
        self._unread: set[str] = set()  # of the set, by channels
        self._freshness: int | None = None
        self._renewed_ns = 0

    def find(self) -> Found:
        """A channel for each file with a zone."""
        names = [name for name in ZONES if (self._directory / name).exists()]
        self._channels = {name: self._channels.get(name) or self._channel(name) for name in names}
        why_none = f"{self._directory}: expected {', '.join(ZONES)}, got none: this is no HPE Cray node"
        return Found(list(self._channels.values()), why_none=why_none)

    def _channel(self, name: str) -> Channel:
        zone = Zone(ZONES[name], WHOLE_MACHINE, SOURCE, MEASURED)
        return Channel(zone, str(self._directory / name), partial(self._read, name), Kind.COUNTER)

    def _read(self, name: str) -> Sample:
        """A file's sample of the newest set, which is read anew once a channel wants a second one of it."""
        if name not in self._unread:
            self._read_set()
        self._unread.discard(name)
        sample = self._set[name]
        if isinstance(sample, Exception):
            raise sample
        return sample

    def _read_set(self) -> None:
        for _ in range(_TRIES):
            before = self._read_freshness()
            read = {name: self._try(name) for name in self._channels}
            if before == self._read_freshness():
                break
        else:
            raise ValueError(
                f"expected freshness to stand still while the files are read, it moved {_TRIES} times"
            )
        newest_ns = max((one.mono_ns for one in read.values() if isinstance(one, Sample)), default=0)
        is_renewed = before is None or before != self._freshness
        if is_renewed:
            self._renewed_ns = newest_ns
        elif newest_ns - self._renewed_ns > STALE_NS:
            raise ValueError(
                f"expected freshness to move ten times a second, got {before} for "
                f"{(newest_ns - self._renewed_ns) / 1e9:.0f} s: the node's controller has stopped measuring"
            )
        # An error is always news; of figures, only those of a new renewal.
        self._set = {
            name: one if is_renewed or isinstance(one, Exception) else self._older(name, one)
            for name, one in read.items()
        }
        self._freshness = before
        self._unread = set(read)

    def _older(self, name: str, sample: Sample) -> Sample:
        older = self._set.get(name)
        return older if isinstance(older, Sample) else sample

    def _try(self, name: str) -> Sample | Exception:
        try:
            return sampled(partial(self._energy_uj, name))
        except (OSError, ValueError) as error:
            return error

    def _energy_uj(self, name: str) -> int:
        text = read_text(self._directory / name)
        found = _VALUE.fullmatch(text)
        if found is None:
            raise ValueError(f"expected a figure such as '1234 J 1700000000000000 us', got {text!r:.80}")
        return check_energy(ZONES[name], int(found[1]) * _UJ_PER_J)

    def _read_freshness(self) -> int | None:
        path = self._directory / "freshness"
        return read_natural(path, "renewals") if path.exists() else None
