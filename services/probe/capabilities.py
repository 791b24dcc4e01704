# SPDX-License-Identifier: Apache-2.0
"""What the kernel asks of us before it lets us in, and giving up what is not needed any longer."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from wattline.errors import Fatal

from .errors import Unavailable

# Bits of a capability set; include/uapi/linux/capability.h. CAP_SYS_ADMIN includes the other two (Linux 5.8).
CAPABILITIES = {"CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
_NEEDED = ("CAP_PERFMON", "CAP_BPF")

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two 32-bit words a set
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 24, 38, 47, 4

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def effective() -> int:
    """Our effective capabilities as a set of bits."""
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    return int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)


def require_capabilities() -> None:
    """Raises Unavailable naming what is missing."""
    have = effective()
    if _has(have, "CAP_SYS_ADMIN"):
        return
    missing = [name for name in _NEEDED if not _has(have, name)]
    if missing:
        raise Unavailable(
            f"eBPF needs {' and '.join(_NEEDED)}, missing: {', '.join(missing)}; start the probe as root, "
            "or give its container these capabilities (CAP_SYS_ADMIN where kernel or container engine don't "
            "know them)",
            Fatal.PERMISSION,
        )


def keep_only(names: Iterable[str]) -> None:
    """Give up every capability but these for good; of these, what we had stays.

    Raises OSError if the kernel refuses, which it has no reason to.
    """
    have = effective()
    kept = sum(1 << CAPABILITIES[name] for name in names if _has(have, name))
    if _has(have, "CAP_SETPCAP"):  # else there is nothing that could be gained from the bounding set
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
        for bit in range(last + 1):
            if not kept >> bit & 1:
                _check(_libc.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")
    _check(_libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT)")
    words = (_Word * 2)(*(_Word(half, half, 0) for half in (kept & 0xFFFFFFFF, kept >> 32)))
    header = _Header(_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(words)), "capset(2)")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def _has(bits: int, name: str) -> bool:
    return bool(bits >> CAPABILITIES[name] & 1)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
