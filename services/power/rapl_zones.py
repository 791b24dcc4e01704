# SPDX-License-Identifier: Apache-2.0
"""Which RAPL zones there are: the kernel's names for them, and where they are in sysfs.

Source: drivers/powercap/intel_rapl_common.c (rapl_init_domains, rapl_add_package) and
Documentation/power/powercap/powercap.rst, Linux 6.1.
"""

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from wattline.wire.frames import UNREADABLE

from .source import MEASURED, Absent, Zone

SOURCE = "rapl-sysfs"

# Not intel-rapl-mmio:*, which shows the package a second time.
_DIRECTORY = re.compile(r"intel-rapl(:\d+)+")
_PACKAGE = re.compile(r"package-(\d+(?:-die-\d+)?)")
_PSYS = re.compile(r"psys(-\d+)?")
_SUBZONES = ("core", "uncore", "dram")
# x86 vendors whose `core` zone is read on one CPU of the package, and is that core's energy alone: AMD (2)
# and Hygon (9). Source: arch/x86/include/asm/processor.h, arch/x86/kernel/cpu/match.c (modalias), Linux 6.1.
_ONE_CORE_VENDORS = re.compile(r"\bven000[29]fam")
_ONE_CORE = "the core zone of an AMD or Hygon processor is the energy of one of its cores, not of all"
_RANGE_UJ_MAX = 2**63 - 1  # the kernel's own type is u64; a frame's column and the books hold as much


@dataclass(frozen=True)
class RaplZone:
    """One zone and the directory that shows it. `range_uj`: where its counter wraps."""

    zone: Zone
    directory: Path
    range_uj: int


def zone_of(name: str, top_name: str) -> Zone | None:
    """The zone of a powercap name, given the name of the top-level zone it is in (or is); None if unknown.

    The index of a package is its socket, with the die where sockets have several, and its subzones share it.
    psys is in no package and may be there several times: its name is its index.
    """
    if _PSYS.fullmatch(name):
        return Zone("psys", name, SOURCE, MEASURED)
    package = _PACKAGE.fullmatch(top_name)
    if package and name == top_name:
        return Zone("package", package[1], SOURCE, MEASURED)
    if package and name in _SUBZONES:
        return Zone(name, package[1], SOURCE, MEASURED)
    return None


@dataclass
class Found:
    """What a powercap directory holds.

    `unreadable`: zones that are there, but whose name or range can't be read. `skipped`: why others are left
    out. `dangling`: names of links that lead nowhere.
    """

    zones: list[RaplZone] = field(default_factory=list)
    unreadable: list[Absent] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)

    def why_none(self, powercap: Path) -> str:
        """Why none of them can be read, if that has one cause."""
        if self.dangling:
            return (
                f"{len(self.dangling)} zones in {powercap} are links that lead nowhere: the container engine "
                "masks powercap; mount the host's /sys read-only into the container and set --path.sysfs to "
                "where it is"
            )
        if self.zones or self.unreadable:
            return ""
        return (
            f"no intel-rapl zones in {powercap}: a virtual machine, or the driver is not loaded; to measure, "
            "run on bare metal (or have RAPL shown to the guest) and `modprobe intel_rapl_msr`"
        )


def listing(powercap: Path) -> tuple[str, ...]:
    """The names in a powercap directory; none if there is no such directory. They change when zones do."""
    try:
        return tuple(sorted(os.listdir(powercap)))  # noqa: PTH208 names are enough
    except OSError:
        return ()


def cure(error: OSError) -> str:
    """What to do about an error of reading a counter, if that is known."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return " (only root may, since Linux 5.10: start power as root, or give its user read access)"
    return ""


def find_zones(sysfs: Path) -> Found:
    """All zones of a sysfs tree, in the order of their numbers."""
    found = Found()
    directories = _directories(sysfs / "class" / "powercap", found)
    has_one_core = _has_one_core(sysfs)
    places: dict[Zone, Path] = {}
    for name in sorted(directories, key=_numbers):
        directory = directories[name]
        top = directories.get(":".join(name.split(":")[:2]), directory)
        try:
            zone_name = _text(directory / "name")
            zone = zone_of(zone_name, _text(top / "name"))
            range_uj = int(_text(directory / "max_energy_range_uj"))
        except OSError as error:
            found.unreadable.append(_unreadable(name, f"{error.filename}: {error.strerror}{cure(error)}"))
            continue
        except ValueError:  # neither text nor a number
            reason = f"{directory}: expected a name, and a number in max_energy_range_uj"
            found.unreadable.append(_unreadable(name, reason))
            continue
        if zone is None:
            found.skipped.append(f"{directory}: unknown zone name {zone_name!r:.80}")
        elif zone.name == "core" and has_one_core:
            found.skipped.append(f"{directory}: {_ONE_CORE}")
        elif zone in places:
            found.skipped.append(f"{directory}: {zone} is already shown by {places[zone]}")
        elif not 0 < range_uj <= _RANGE_UJ_MAX:
            expected = f"expected a range from 1 to {_RANGE_UJ_MAX}, got {range_uj!s:.40}"
            reason = f"{directory}/max_energy_range_uj: {expected}"
            found.unreadable.append(Absent(SOURCE, zone.name, zone.index, UNREADABLE, reason))
        else:
            places[zone] = directory
            found.zones.append(RaplZone(zone, directory, range_uj))
    return found


def _unreadable(directory_name: str, reason: str) -> Absent:
    return Absent(SOURCE, "", directory_name, UNREADABLE, reason)


def _has_one_core(sysfs: Path) -> bool:
    try:
        return bool(_ONE_CORE_VENDORS.search(_text(sysfs / "devices" / "system" / "cpu" / "modalias")))
    except (OSError, ValueError):  # not an x86 machine, or not the whole of its sysfs
        return False


def _directories(powercap: Path, found: Found) -> dict[str, Path]:
    """Directories of zones by name. The kernel also links nested ones at the top: a name counts once."""
    directories: dict[str, Path] = {}
    pending = [powercap]
    while pending:
        try:
            entries = sorted(pending.pop(0).iterdir())
        except OSError:
            continue
        for entry in entries:
            if not _DIRECTORY.fullmatch(entry.name) or entry.name in directories:
                continue
            if entry.is_symlink() and not entry.exists():
                found.dangling.append(entry.name)
                continue
            directories[entry.name] = entry
            pending.append(entry)
    return directories


def _numbers(name: str) -> list[int]:
    return [int(number) for number in name.split(":")[1:]]


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
