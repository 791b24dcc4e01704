# SPDX-License-Identifier: Apache-2.0
"""The batteries and plugs of a machine, as /sys/class/power_supply has them.

Source: Documentation/ABI/testing/sysfs-class-power, Linux 6.1.
"""

from dataclasses import dataclass
from pathlib import Path

from .hwmon_files import NO_READING_UW, optional_text, read_number, read_text

_UNITS_PER_SQUARE = 1_000_000  # µA × µV = 10⁻¹² W


@dataclass(frozen=True)
class Look:
    """`has_any`: batteries that feed the machine are there. `is_only_supply`: nothing else feeds it now."""

    has_any: bool
    is_only_supply: bool
    why_none: str = ""


class Batteries:
    """The batteries of a machine. A mouse's or a headset's (scope Device) is none of it."""

    def __init__(self, sysfs: Path) -> None:
        self._directory = sysfs / "class" / "power_supply"
        self._discharging: list[Path] = []

    def look(self) -> Look:
        """Find out what feeds the machine now. Raises OSError or ValueError if a battery can't be read."""
        batteries, is_plugged = self._supplies()
        statuses = {battery: read_text(battery / "status") for battery in batteries}
        self._discharging = [battery for battery in batteries if statuses[battery] == "Discharging"]
        # With a weak plug a battery may discharge as well: then its power is only a part of the machine's.
        is_only = bool(self._discharging) and not is_plugged and "Charging" not in statuses.values()
        why_none = f"{self._directory}: expected a battery that feeds the machine, got none"
        return Look(bool(batteries), is_only, "" if batteries else why_none)

    def power_uw(self) -> int:
        """What all discharging batteries give together. Raises OSError or ValueError if one can't be read."""
        return sum(map(_power_uw, self._discharging))

    def _supplies(self) -> tuple[list[Path], bool]:
        """(batteries, True if any other supply of the machine is plugged in and gives power)."""
        try:
            paths = sorted(self._directory.iterdir())
        except FileNotFoundError:
            return [], False
        batteries, is_plugged = [], False
        for path in paths:
            kind = optional_text(path / "type")
            if optional_text(path / "scope") == "Device" or optional_text(path / "present") == "0":
                continue
            if kind == "Battery":
                batteries.append(path)
            elif kind:  # Mains, USB with its variants, Wireless, UPS
                is_plugged = is_plugged or optional_text(path / "online") in {"1", "2"}
        return batteries, is_plugged


def _power_uw(battery: Path) -> int:
    """A discharging battery's power. Some drivers show what flows out as negative."""
    power = battery / "power_now"
    if power.exists():
        power_uw = abs(_read(power, "microwatts"))
    else:
        current_ua = abs(_read(battery / "current_now", "microamperes"))
        power_uw = current_ua * _read(battery / "voltage_now", "microvolts") // _UNITS_PER_SQUARE
    if power_uw in NO_READING_UW:
        raise ValueError(
            f"{battery.name}: expected a power, got {power_uw} µW, which stands for 'no reading'"
        )
    if power_uw < 0:
        raise ValueError(f"{battery.name}: expected a voltage of 0 or more, got a negative one")
    return power_uw


def _read(path: Path, unit: str) -> int:
    try:
        return read_number(path, unit)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from None
