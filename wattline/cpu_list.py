# SPDX-License-Identifier: Apache-2.0
"""Lists of CPUs in the kernel's format. Pure."""

import re

CPU_MAX = 8191  # the most that a kernel can be built for are 8192 (arch/x86/Kconfig, NR_CPUS, Linux 6.1)
_PART = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def cpu_list(text: str) -> set[int]:
    """Numbers from a list like "0-3,8" or an empty line. Raises ValueError on anything else.

    Source: Documentation/admin-guide/cputopology.rst, Linux 6.1.
    """
    numbers: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        found = _PART.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= CPU_MAX:
            raise ValueError(
                f"expected CPUs from 0 to {CPU_MAX} in rising ranges, as in 0-3,8, got {part!r:.40}"
            )
        numbers.update(range(first, last + 1))
    return numbers
