# SPDX-License-Identifier: Apache-2.0
"""A source for tests that hangs: a named pipe below sysfs, whose opening waits for somebody to write."""

from pathlib import Path

from services.power.channel import Channel, Found, Kind, Sample, sampled
from services.power.metered import Metered
from services.power.settings import PowerSettings
from services.power.source import MEASURED, Former, Source, Zone

SOURCE = "fifo"
_PERIOD_NS = 100_000_000


def period_ns(_settings: PowerSettings) -> int:
    return _PERIOD_NS


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    path = settings.path_sysfs / "fifo"
    channel = Channel(
        Zone("platform", "0", SOURCE, MEASURED), str(path), lambda: _read(path), Kind.GAUGE, bridge_ns=10**10
    )
    return Metered(SOURCE, lambda: Found([channel]), former, now_ns)


def _read(path: Path) -> Sample:
    with path.open(encoding="ascii") as pipe:
        return sampled(lambda: int(pipe.readline()))
