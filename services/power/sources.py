# SPDX-License-Identifier: Apache-2.0
"""All sources, in the order in which they are preferred, and what each needs."""

from collections.abc import Callable
from typing import NamedTuple

from . import estimator, rapl_sysfs
from .settings import PowerSettings
from .source import Former, Source

Open = Callable[[PowerSettings, Former, int], Source]


class Entry(NamedTuple):
    """A source, and the capabilities without which it can't read its meter as an ordinary user."""

    open: Open
    capabilities: tuple[str, ...]


SOURCES = (
    # Measures package, core, uncore, dram, psys. Only root may read energy_uj since Linux 5.10.
    Entry(rapl_sysfs.open_source, ("CAP_DAC_READ_SEARCH",)),
    # Estimates package, dram, platform from CPU time; needs no meter.
    Entry(estimator.open_source, ()),
)


def capabilities(_settings: PowerSettings) -> list[str]:
    """What the service keeps: the needs of every source that it may use."""
    return sorted({name for entry in SOURCES for name in entry.capabilities})
