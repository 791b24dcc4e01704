# SPDX-License-Identifier: Apache-2.0
"""The platform zone by the ACPI power meters of servers (hwmon chip power_meter)."""

import re
from collections.abc import Sequence
from pathlib import Path

from wattline.wire.frames import UNREADABLE

from .channel import Found
from .chip_rules import ACPI_CHIP, Rule
from .chip_rules_file import load_rules
from .hwmon import matches
from .hwmon_files import optional_text
from .hwmon_read import Channels
from .hwmon_tree import Chip, Figure, Sensor, chip_of, find_chips, sensors_of
from .metered import Metered
from .settings import PowerSettings
from .source import MEASURED, Absent, Former, Source, Zone

SOURCE = "acpi"
# A label of a rail or a socket, such as NVIDIA's "SysIO Power Socket 0": no meter of a whole machine.
_PART = re.compile(r".*\bsocket\s+[0-9]+\s*", re.IGNORECASE)
# The devices of \_SB, the whole system, as the kernel names it and its parent (drivers/acpi/scan.c).
_SYSTEM = re.compile("LNXSYBUS:[0-9a-f]+|LNXSYSTM:[0-9a-f]+", re.IGNORECASE)


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The platform zone of a server. Its files are readable by anybody. Raises Fatal for wrong rules."""
    finder = Finder(load_rules(settings.hwmon_rules), settings)
    return Metered(SOURCE, finder.find, former, now_ns)


def period_ns(settings: PowerSettings) -> int:
    """As often as the files of other meters are read. The firmware may take its time for each reading."""
    return settings.interval_ns


class Finder:
    r"""Discovery of the one meter that measures the whole machine.

    Each meter says which devices it measures (_PMD, shown as links in `measures`). The meter of the whole
    machine has \_SB as its only entry (ACPI 6.0, 10.4.8); much firmware leaves the list out. So:

    1. Meters that a rule for hwmon chips is about, of a part (a socket, a rail) or of a battery don't count.
    2. The first meter of \\_SB counts, else the first that says nothing. "First" is by the device's name.
    3. Others are never added: two meters of the whole machine measure the same energy.
    """

    def __init__(self, rules: Sequence[Rule], settings: PowerSettings) -> None:
        self._rules = rules
        self._sysfs = settings.path_sysfs
        self._channels = Channels(settings.interval_ns)

    def find(self) -> Found:
        """The meter's channel; the same one while the meter and its interval stay."""
        chips = find_chips(self._sysfs, ACPI_CHIP.__eq__)
        found = Found(
            unreadable=[Absent(SOURCE, "", place, UNREADABLE, reason) for place, reason in chips.unreadable],
            why_none=f"{self._sysfs / 'class' / 'hwmon'}: expected a chip {ACPI_CHIP} of the whole machine, "
            f"got chips {', '.join(sorted(chips.names)) or 'none'}",
        )
        skipped: list[str] = []
        meters = self._meters([*chips.chips, *self._without_hwmon(chips.chips)], skipped)
        meters.sort(key=lambda one: (not _measured(one.chip), one.chip.device))
        skipped += [
            f"{one.chip.place}: not counted, since {meters[0].chip.device} measures the whole machine"
            for one in meters[1:]
        ]
        zones = {Zone("platform", one.chip.device, SOURCE, MEASURED): one for one in meters[:1]}
        self._channels.place(zones, found)
        found.skipped = skipped
        return found

    def _meters(self, chips: Sequence[Chip], skipped: list[str]) -> list[Sensor]:
        meters = []
        for chip in chips:
            # An old kernel's power_meter has only an average; a newer one might show another figure instead.
            sensors = [one for one in sensors_of(chip) if one.figure in {Figure.AVERAGE, Figure.POWER}]
            if not sensors or any(True for _ in matches(self._rules, chip)):
                continue
            why_not = _why_no_platform(chip, sensors[0])
            if why_not:
                skipped.append(f"{chip.place}: not the whole machine: {why_not}")
            else:
                meters.append(sensors[0])
        return meters

    def _without_hwmon(self, chips: Sequence[Chip]) -> list[Chip]:
        """Meters that are in the driver's directory only, where class/hwmon isn't mounted."""
        known = {chip.device for chip in chips}
        try:
            links = sorted((self._sysfs / "bus/acpi/drivers" / ACPI_CHIP).iterdir())
            places = [link.resolve(strict=True) for link in links if ":" in link.name]
            return [_bare(place) for place in places if place.name not in known]
        except OSError:
            return []


def _bare(place: Path) -> Chip:
    chip = chip_of(ACPI_CHIP, [place])
    return Chip(chip.name, place.name, place, chip.files)


def _measured(chip: Chip) -> list[str]:
    """The devices that a meter says it measures."""
    directory = chip.files.get("power1_average", chip.place / "power1_average").parent / "measures"
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return []


def _why_no_platform(chip: Chip, sensor: Sensor) -> str:
    """Why a meter doesn't measure the whole machine; empty if it does or doesn't say."""
    if optional_text(chip.files.get("power1_is_battery")) == "1":
        return "it measures a battery"
    if _PART.fullmatch(sensor.label):
        return f"its OEM information is {sensor.label!r:.80}"
    measured = _measured(chip)
    if measured and not all(_SYSTEM.fullmatch(name) for name in measured):
        return f"it measures {', '.join(measured):.200}"
    return ""
