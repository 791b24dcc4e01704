# SPDX-License-Identifier: Apache-2.0
"""The time namespace of this process: its clocks must be those of the kernel and of the other services.

Source: time_namespaces(7).
"""

from collections.abc import Mapping
from pathlib import Path

from .decimal import decimal
from .errors import Fatal

_OFFSETS = Path("/proc/self/timens_offsets")
_NS_PER_S = 1_000_000_000


def offsets_ns(text: str) -> dict[str, int]:
    """How far each clock is ahead of the kernel's, by its name, from /proc/PID/timens_offsets. Pure."""
    found = {}
    for line in text.splitlines():
        clock, seconds, nanoseconds = line.split()
        sign = -1 if seconds.startswith("-") else 1
        found[clock] = sign * decimal(seconds.removeprefix("-")) * _NS_PER_S + decimal(nanoseconds)
    return found


def refusal(offsets: Mapping[str, int]) -> str:
    """Why these clocks can't be used; empty if they can. Pure."""
    wrong = [f"{clock} {offset / _NS_PER_S:+.9g} s" for clock, offset in offsets.items() if offset]
    if not wrong:
        return ""
    return (
        "this process is in a time namespace: got clocks that differ from the kernel's "
        f"({', '.join(wrong)}), expected none, because the kernel and the other services go by the kernel's. "
        "Start it in the host's time namespace (without unshare --time; a restored container: start it anew)"
    )


def require_kernels_clocks() -> None:
    """Raise Fatal(SETTINGS) in a time namespace with clocks of its own."""
    try:
        text = _OFFSETS.read_text(encoding="ascii")
    except OSError:  # a kernel without time namespaces (before 5.6)
        return
    if reason := refusal(offsets_ns(text)):
        raise Fatal(reason, Fatal.SETTINGS)
