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

# What statfs(2) calls each kind; include/uapi/linux/magic.h, Linux 6.1.
_MAGIC = {"bpf": 0xCAFE4A11, "tracefs": 0x74726163}
_STATFS_BYTES = 256  # more than struct statfs has anywhere; its first word is the type


def is_kind(kind: str, path: Path) -> bool:
    """True if a path lies in a file system of this kind. The kernel is asked, not a list of mounts.

    Such a list may show another mount namespace's view, or a mount that a later one covers.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return (ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF) == _MAGIC[kind]


def have_mounted(kind: str, mount_point: Path) -> None:
    """Mount a file system unless it is there. Raises Unavailable with the command that cures it.

    Never a second one over the first: everybody's pins would be hidden from then on.
    """
    if is_kind(kind, mount_point):
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
    if is_kind("bpf", directory):
        return
    kinds = dict(mounts())  # the last mount on a place covers those before it
    kind = next((kinds[place] for place in (directory, *directory.parents) if place in kinds), "none known")
    raise Unavailable(
        f"no BPF file system at {directory} ({kind} is there), where the program is to be pinned; as "
        f"root: mount -t bpf bpf {BPFFS}, give a container a volume of type bpf, or choose another "
        "--probe.pin-path",
        Fatal.PERMISSION,
    )
