# SPDX-License-Identifier: Apache-2.0
"""CPUs as sysfs shows them: which exist, on which socket, at which clock. All I/O is reading small files."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from wattline.cpu_list import cpu_list

_CPU = Path("devices/system/cpu")


def tree(sysfs: Path) -> Path:
    """The tree to look in: the one given, or the kernel's own where that has meters only and no CPUs."""
    has_cpus = all((sysfs / _CPU / name).exists() for name in ("online", "possible"))
    return sysfs if has_cpus else Path("/sys")


def possible_count(sysfs: Path) -> int:
    """How many values a per-CPU map holds: CPUs that may ever be plugged in count."""
    return max(cpu_list((sysfs / _CPU / "possible").read_text(encoding="ascii"))) + 1


def online(sysfs: Path) -> set[int]:
    """CPUs that run something now."""
    return cpu_list((sysfs / _CPU / "online").read_text(encoding="ascii"))


def undisturbed(sysfs: Path) -> set[int]:
    """CPUs that the machine's owner keeps free of interruptions: isolated or without a timer tick."""
    found: set[int] = set()
    for name in ("isolated", "nohz_full"):
        with contextlib.suppress(OSError, ValueError):  # absent, or "(null)", where the kernel has no such
            found |= cpu_list((sysfs / _CPU / name).read_text(encoding="ascii"))
    return found


def sockets(sysfs: Path, cpus: Iterable[int]) -> dict[int, int]:
    """Physical package by CPU; one that does not say is on package 0 (a CPU that is off says nothing)."""
    found = {}
    for cpu in cpus:
        package = _number(sysfs / _CPU / f"cpu{cpu}/topology/physical_package_id")
        found[cpu] = package if package is not None and package >= 0 else 0
    return found


def frequencies_khz(sysfs: Path, cpus: Iterable[int]) -> dict[int, int]:
    """Clock by CPU, of those whose driver tells it."""
    read = {cpu: _number(sysfs / _CPU / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus}
    return {cpu: khz for cpu, khz in read.items() if khz}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
