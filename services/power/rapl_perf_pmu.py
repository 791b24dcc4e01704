# SPDX-License-Identifier: Apache-2.0
"""The `power` PMU as sysfs describes it: its type, its CPUs and its events.

Sources: arch/x86/events/rapl.c and Documentation/ABI/testing/sysfs-bus-event_source-devices-events,
Linux 6.14.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from wattline.cpu_list import cpu_list

# The PMU power_core, whose energy-core is that of a single core, is not among them.
ZONES = {
    "energy-pkg": "package",
    "energy-ram": "dram",
    "energy-cores": "core",
    "energy-gpu": "uncore",
    "energy-psys": "psys",
}
_EVENT = re.compile(r"event=(0x[0-9a-fA-F]{1,16}|[0-9]{1,19})")
_FORMAT = "config:0-7"  # where the event's number goes
_CONFIG_MAX = 0xFF
_UJ_PER_J = 1_000_000
_TYPE_MAX = 2**32 - 1
# A scale is 2⁻³² J on every kernel so far. Outside of these bounds it is no energy that a count could tell.
_EXPONENT_MAX = 20  # checked first: an exact fraction of 1e-999999999 would take all memory
_SCALE_MIN, _SCALE_MAX = Fraction(1, 10**15), Fraction(1000)


@dataclass(frozen=True)
class PmuEvent:
    """One event of the PMU. `uj_per_count`: exact, so that no count is ever rounded twice."""

    name: str
    zone: str
    config: int
    uj_per_count: Fraction


@dataclass
class Pmu:
    """The PMU. `cpus`: one of each package or die. `skipped`: why other events are left out."""

    type: int
    cpus: list[int]
    events: list[PmuEvent] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def directory(sysfs: Path) -> Path:
    """Return where the PMU is."""
    return sysfs / "bus" / "event_source" / "devices" / "power"


def find_pmu(sysfs: Path) -> Pmu | None:
    """Return the PMU of a sysfs tree; None if there is none. Raises OSError or ValueError."""
    place = directory(sysfs)
    try:
        pmu = Pmu(_number(place / "type"), sorted(cpu_list(_text(place / "cpumask"))))
    except FileNotFoundError:
        return None
    for name, zone in ZONES.items():
        path = place / "events" / name
        try:
            event = _event(path, name, zone)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            pmu.skipped.append(f"{path}: {error}")
            continue
        pmu.events.append(event)
    return pmu


def _event(path: Path, name: str, zone: str) -> PmuEvent:
    text = _text(path)
    found = _EVENT.fullmatch(text)
    if not found or int(found[1], 0) > _CONFIG_MAX:
        raise ValueError(f"expected event=0x00 to event=0xff, got {text!r:.80}")
    layout = path.parents[1] / "format" / "event"
    if layout.exists() and _text(layout) != _FORMAT:
        raise ValueError(f"expected the format {_FORMAT}, got {_text(layout)!r:.80}")
    unit = _text(path.with_name(f"{name}.unit"))
    if unit != "Joules":
        raise ValueError(f"expected the unit Joules, got {unit!r:.80}")
    return PmuEvent(name, zone, int(found[1], 0), scale(_text(path.with_name(f"{name}.scale"))) * _UJ_PER_J)


def scale(text: str) -> Fraction:
    """Return an event's scale, exactly. Raises ValueError."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"expected a decimal number as scale, got {text!r:.80}") from None
    if (
        not number.is_finite()
        or abs(number.adjusted()) > _EXPONENT_MAX
        or not _SCALE_MIN <= Fraction(number) <= _SCALE_MAX
    ):
        raise ValueError(f"expected a scale from 1e-15 to 1000 J, got {text!r:.80}")
    return Fraction(number)


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal() or int(text) > _TYPE_MAX:
        raise ValueError(f"{path}: expected a number below 2³², got {text!r:.80}")
    return int(text)


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
