# SPDX-License-Identifier: Apache-2.0
"""All sources, in the order in which they are tried: the first that works is used for the whole run."""

from collections.abc import Callable
from dataclasses import dataclass

from wattline.errors import Fatal
from wattline.wire.frames import SourceState

from . import estimator, rapl_sysfs
from .settings import PowerSettings
from .source import Former, Source

Open = Callable[[PowerSettings, Former], Source | SourceState]

SOURCES: tuple[Open, ...] = (
    rapl_sysfs.open_source,  # measures package, core, uncore, dram, psys
    estimator.open_source,  # estimates package, dram, platform from CPU time; needs no meter
)


@dataclass(frozen=True)
class Choice:
    """The source in use, and why those before it are not."""

    source: Source
    passed_over: tuple[SourceState, ...]


def choose(settings: PowerSettings, former: Former) -> Choice:
    """Open the first source that works."""
    passed_over: list[SourceState] = []
    for open_source in SOURCES:
        opened = open_source(settings, former)
        if not isinstance(opened, SourceState):
            return Choice(opened, tuple(passed_over))
        passed_over.append(opened)
    reasons = "; ".join(f"{state.name}: {state.reason}" for state in passed_over)
    raise Fatal(f"no source of energy readings works: {reasons}")
