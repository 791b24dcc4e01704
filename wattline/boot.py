# SPDX-License-Identifier: Apache-2.0
"""Which boot of the machine this is. Times of different boots can't be compared."""

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_boot_id() -> str:
    """The kernel's random id of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()
