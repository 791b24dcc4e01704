# SPDX-License-Identifier: Apache-2.0
"""The probe's settings that are lists: from text to values. Pure."""

import re

from wattline.cpu_list import CPU_MAX, cpu_list
from wattline.settings import nearest

from .ebpf.layout import COUNTERS_MAX
from .ebpf.perf_events import COUNTERS

ISOLATED = "isolated"


def parse_counters(text: str) -> list[str]:
    """Names of hardware counters, as listed. Raises ValueError saying what is wrong."""
    names = [name for name in text.replace(" ", "").split(",") if name]
    for name in names:
        if name not in COUNTERS:
            raise ValueError(f"there is no counter {name!r}{nearest(name, COUNTERS)}")
    if len(set(names)) < len(names):
        raise ValueError("a name is in it twice")
    if len(names) > COUNTERS_MAX:
        raise ValueError(f"there are {len(names)} names in it")
    return names


def parse_undisturbed_cpus(text: str) -> set[int] | None:
    """Numbers of CPUs; None for those that the kernel keeps undisturbed. Raises ValueError likewise."""
    if text == ISOLATED:
        return None
    parts = list(filter(None, text.split(",")))
    for part in parts:
        numbers = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        if numbers is None or not int(numbers[1]) <= int(numbers[2] or numbers[1]) <= CPU_MAX:
            raise ValueError(
                f"{part!r} is neither a CPU's number nor a range of them{nearest(part, [ISOLATED])}"
            )
    return cpu_list(",".join(parts))
