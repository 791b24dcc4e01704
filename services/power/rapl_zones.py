# SPDX-License-Identifier: Apache-2.0
"""Which RAPL zones there are: the kernel's names for them, and where they are in sysfs.

Source: drivers/powercap/intel_rapl_common.c (rapl_init_domains, rapl_add_package) and
Documentation/power/powercap/powercap.rst, Linux 6.1.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from .source import MEASURED, Zone

SOURCE = "rapl-sysfs"

# Not intel-rapl-mmio:*, which shows the package a second time.
_DIRECTORY = re.compile(r"intel-rapl(:\d+)+")
_PACKAGE = re.compile(r"package-(\d+(?:-die-\d+)?)")
_PSYS = re.compile(r"psys(-\d+)?")
_SUBZONES = ("core", "uncore", "dram")
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


def find_zones(powercap: Path) -> tuple[list[RaplZone], list[str]]:
    """All zones below a powercap directory in the order of their numbers, and what is passed over and why."""
    directories = _directories(powercap)
    found: dict[Zone, RaplZone] = {}
    passed_over: list[str] = []
    for name in sorted(directories, key=_numbers):
        directory = directories[name]
        top = directories.get(":".join(name.split(":")[:2]), directory)
        try:
            zone = zone_of(_text(directory / "name"), _text(top / "name"))
            range_uj = int(_text(directory / "max_energy_range_uj"))
        except OSError as error:
            passed_over.append(f"{error.filename}: {error.strerror}")
            continue
        except ValueError:  # neither text nor a number
            passed_over.append(f"{directory}: expected a name, and a number in max_energy_range_uj")
            continue
        if zone is None:
            passed_over.append(f"{directory}: unknown zone name {_text(directory / 'name')!r:.80}")
        elif zone in found:
            passed_over.append(f"{directory}: {zone} is already shown by {found[zone].directory}")
        elif not 0 < range_uj <= _RANGE_UJ_MAX:
            passed_over.append(
                f"{directory}/max_energy_range_uj: expected a range from 1 to {_RANGE_UJ_MAX}, "
                f"got {range_uj!s:.40}"
            )
        else:
            found[zone] = RaplZone(zone, directory, range_uj)
    return list(found.values()), passed_over


def _directories(powercap: Path) -> dict[str, Path]:
    """Directories of zones by name. The kernel also links nested ones at the top: a name counts once."""
    directories: dict[str, Path] = {}
    pending = [powercap]
    while pending:
        try:
            entries = sorted(pending.pop(0).iterdir())
        except OSError:
            continue
        for entry in entries:
            if _DIRECTORY.fullmatch(entry.name) and entry.name not in directories:
                directories[entry.name] = entry
                pending.append(entry)
    return directories


def _numbers(name: str) -> list[int]:
    return [int(number) for number in name.split(":")[1:]]


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
