# SPDX-License-Identifier: Apache-2.0
"""The processor and the places of its CPUs, as sysfs shows them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wattline.cpu_list import cpu_list

# Vendor numbers: arch/x86/include/asm/processor.h (X86_VENDOR_*), Linux 6.1.
INTEL, AMD, HYGON = 0, 2, 9
# arch/x86/kernel/cpu/match.c (arch_x86_cpu_modalias... cpu:type:x86,venVVVVfamFFFFmodMMMM), Linux 6.1.
_MODALIAS = re.compile(r"cpu:type:x86,ven([0-9A-Fa-f]{4})fam([0-9A-Fa-f]{4})mod([0-9A-Fa-f]{4})")


@dataclass(frozen=True)
class Processor:
    """An x86 processor by the numbers that CPUID gives it."""

    vendor: int
    family: int
    model: int

    @property
    def has_package_scope(self) -> bool:
        """True if its energy counters belong to a socket, False if each die of a socket has its own.

        Source: arch/x86/events/rapl.c (rapl_pkg_pmu_is_pkg_scope), Linux 6.14.
        """
        return self.vendor in {AMD, HYGON}

    def __str__(self) -> str:
        name = {INTEL: "Intel", AMD: "AMD", HYGON: "Hygon"}.get(self.vendor, f"vendor {self.vendor}")
        return f"{name} family {self.family:#x} model {self.model:#x}"


class Place(NamedTuple):
    """Where a CPU is: its socket, and its die within the socket."""

    socket: int
    die: int


def processor(sysfs: Path) -> Processor | None:
    """Return the processor of a sysfs tree; None for one that isn't x86, or isn't shown."""
    try:
        text = _text(sysfs / "devices" / "system" / "cpu" / "modalias")
    except (OSError, ValueError):
        return None
    found = _MODALIAS.match(text)
    return Processor(*(int(number, 16) for number in found.groups())) if found else None


def online(sysfs: Path) -> list[int]:
    """Return the CPUs that are online. Raises OSError or ValueError."""
    return sorted(cpu_list(_text(sysfs / "devices" / "system" / "cpu" / "online")))


def places(sysfs: Path, cpus: Iterable[int]) -> dict[int, Place]:
    """Return the place of each CPU; one that is offline has none.

    Raises ValueError for a number that can't be read. A machine whose kernel doesn't know dies has die 0.
    """
    found: dict[int, Place] = {}
    for cpu in cpus:
        directory = sysfs / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
        try:
            socket = int(_text(directory / "physical_package_id"))
        except OSError:
            continue
        try:
            die = int(_text(directory / "die_id"))
        except OSError:
            die = 0
        found[cpu] = Place(socket, die)
    return found


def by_index(cpus: Mapping[int, Place], *, by_die: bool) -> dict[str, list[int]]:
    """Group CPUs by the index of their meter's zone, which is that of RAPL in sysfs (rapl_zones.py).

    The index is the socket; where counters are a die's and a socket has several, it has the die as well.
    Source: drivers/powercap/intel_rapl_common.c (rapl_add_package), Linux 6.12.
    """
    dies_of: dict[int, set[int]] = {}
    for place in cpus.values():
        dies_of.setdefault(place.socket, set()).add(place.die)
    named_by_die = by_die and any(len(dies) > 1 for dies in dies_of.values())
    groups: dict[str, list[int]] = {}
    for cpu, place in sorted(cpus.items()):
        index = f"{place.socket}-die-{place.die}" if named_by_die else str(place.socket)
        groups.setdefault(index, []).append(cpu)
    return groups


def psys_index(index: str) -> str:
    """Return the index of the psys zone that is read on a socket, as sysfs has it.

    Source: drivers/powercap/intel_rapl_common.c (rapl_init_domains), Linux 6.12.
    """
    socket = index.partition("-")[0]
    return "psys" if socket == "0" else f"psys-{socket}"


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
