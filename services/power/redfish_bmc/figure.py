# SPDX-License-Identifier: Apache-2.0
"""A chassis' meter: which figures of which resources make it, and what they are. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..channel import Kind
from . import figures
from .resource import Resources, at

_MINUTE_NS = 60_000_000_000
_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})(?:\.(\d{1,9}))?S)?)?")


@dataclass(frozen=True, slots=True)
class Term:
    """One figure. `stamp`: keys of its own time in the same resource, if it has one."""

    path: str
    keys: tuple[str | int, ...]
    stamp: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}#/{'/'.join(map(str, self.keys))}"


@dataclass(frozen=True, slots=True)
class Meter:
    """A chassis' power, or its energy so far: the sum of the terms.

    `unit_uj`: of a counter. `what`: in words, for the log. `averaged_ns`: the figure is the mean over so long
    up to now; 0 if it is that of the moment.
    """

    kind: Kind
    terms: tuple[Term, ...]
    what: str
    unit_uj: int = 0
    averaged_ns: int = 0

    @property
    def paths(self) -> list[str]:
        """The resources to be fetched, each once."""
        return list(dict.fromkeys(term.path for term in self.terms))

    def read(self, resources: Resources) -> "Figure":
        """The figure now. Raises ValueError if any term is missing, null, negative or no number."""
        values = [figures.number(at(resources.get(term.path), term.keys), str(term)) for term in self.terms]
        stamps = [str(at(resources.get(term.path), term.stamp) or "") for term in self.terms if term.stamp]
        total = sum(values, Decimal(0))
        places = max(map(figures.decimals, values), default=0)
        has_fraction = any(value % 1 for value in values)
        if self.kind is Kind.GAUGE:
            return Figure(figures.power_uw(total), places, has_fraction, "".join(stamps))
        value = figures.energy_uj(total, self.unit_uj, str(self.terms[0]))
        return Figure(value, places, has_fraction, "".join(stamps))


@dataclass(frozen=True, slots=True)
class Figure:
    """A meter's reading in µW or µJ. `stamp`: its own time as the BMC writes it."""

    value: int
    decimals: int
    has_fraction: bool
    stamp: str = ""


def is_readable(meter: Meter, resources: Resources) -> bool:
    """True if all of its figures are there."""
    try:
        meter.read(resources)
    except ValueError:
        return False
    return True


def is_fine(meter: Meter, resources: Resources) -> bool:
    """True for a readable counter whose steps are small enough to be preferred to a power."""
    if meter.kind is not Kind.COUNTER or not is_readable(meter, resources):
        return False
    places = meter.read(resources).decimals
    return figures.step_uj(meter.unit_uj, places) <= figures.FINE_STEP_UJ


def minutes_ns(value: object) -> int:
    """IntervalInMin in ns; 0 if it is none."""
    return value * _MINUTE_NS if isinstance(value, int) and 0 < value <= 24 * 60 else 0


def duration_ns(text: str) -> int:
    """An ISO 8601 duration, as DMTF schemas have them (PT1M, PT0.5S); 0 for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return 0
    days, hours, minutes, seconds, fraction = (group or "0" for group in match.groups())
    whole_s = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    return whole_s * 1_000_000_000 + int(fraction.ljust(9, "0"))


def unix_ns(stamp: str) -> int | None:
    """A date and time with its zone in ns since 1970; None for anything else."""
    try:
        read = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    if read.tzinfo is None:
        return None
    return int(read.timestamp()) * 1_000_000_000 + read.microsecond * 1000
