# SPDX-License-Identifier: Apache-2.0
"""The kernel's numbers of eBPF programs: those that are loaded, and those pinned in a directory."""

import os
import struct
from pathlib import Path

from services.probe.ebpf import bpf_syscall as bpf
from services.probe.ebpf import layout
from tests.probe import bpf_objects

_ID_AT = 4  # struct bpf_prog_info


def loaded() -> set[int]:
    """All there are."""
    found = set()
    for number, fd in bpf_objects._programs():
        found.add(number)
        os.close(fd)
    return found


def pinned(pins: Path) -> dict[str, int]:
    """By name, of the functions that the reader calls."""
    found = {}
    for name in layout.CALLED:
        for path in pins.glob(f"*/{name}"):
            fd = bpf.open_pinned(path)
            (found[name],) = struct.unpack_from("<I", bpf_objects.info(fd), _ID_AT)
            os.close(fd)
    return found
