# SPDX-License-Identifier: Apache-2.0
"""The kernel file systems that eBPF needs, mounted where they usually are."""

import ctypes
import os
from pathlib import Path

from wattline.errors import Fatal
from wattline.mounts import mounts

from ..errors import Unavailable

BPFFS = Path("/sys/fs/bpf")
TRACEFS = Path("/sys/kernel/tracing")


def have_mounted(kind: str, mount_point: Path) -> None:
    """Mount a file system unless it is there. Raises Unavailable with the command that cures it."""
    if (mount_point, kind) in mounts():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # bpffs is open to all by default (1777), and anybody could take our name in it.
    if libc.mount(kind.encode(), os.fsencode(mount_point), kind.encode(), 0, b"mode=0700") != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Unavailable(
            f"no {kind} at {mount_point} and it could not be mounted ({reason}); as root on the host: "
            f"mount -t {kind} {kind} {mount_point}, then start the probe (or its container) again",
            Fatal.PERMISSION,
        )


def require_bpffs(directory: Path) -> None:
    """Raises Unavailable with the cure unless a directory lies in a BPF file system."""
    kinds = dict(mounts())  # the last mount on a place covers those before it
    kind = next(kinds[place] for place in (directory, *directory.parents) if place in kinds)
    if kind != "bpf":
        raise Unavailable(
            f"no BPF file system at {directory} ({kind} is there), where the program is to be pinned; as "
            f"root: mount -t bpf bpf {BPFFS}, give a container a volume of type bpf, or choose another "
            "--probe.pin-path",
            Fatal.PERMISSION,
        )
