# SPDX-License-Identifier: Apache-2.0
"""All sources, in the order in which they are tried, and what each needs.

The first that works is used for the whole run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wattline.errors import Fatal
from wattline.wire.frames import SourceState

from . import estimator, rapl_sysfs
from .settings import PowerSettings
from .source import Former, Source

Open = Callable[[PowerSettings, Former], Source | SourceState]


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


@dataclass(frozen=True)
class Choice:
    """The source in use, and why those before it are not."""

    source: Source
    passed_over: tuple[SourceState, ...]


def choose(settings: PowerSettings, former: Former) -> Choice:
    """Open the first source that works."""
    passed_over: list[SourceState] = []
    for entry in SOURCES:
        opened = entry.open(settings, former)
        if not isinstance(opened, SourceState):
            return Choice(opened, tuple(passed_over))
        passed_over.append(opened)
    reasons = "; ".join(f"{state.name}: {state.reason}" for state in passed_over)
    raise Fatal(f"no source of energy readings works: {reasons}")
