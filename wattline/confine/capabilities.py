# SPDX-License-Identifier: Apache-2.0
"""The capabilities of this process: look at them, give them up.

They belong to a thread, so they are given up before a second one is started.
"""

import contextlib
import ctypes
from collections.abc import Iterable
from pathlib import Path

from .libc import capset, prctl

# Bits of a capability set; include/uapi/linux/capability.h. CAP_SYS_ADMIN includes the last two (Linux 5.8).
BITS = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two 32-bit words a set
# include/uapi/linux/prctl.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 24, 38, 47, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def of_this_thread(which: str) -> int:
    """One set as bits, by its name in /proc/PID/status: CapEff, CapPrm, CapInh, CapBnd, CapAmb."""
    status = Path("/proc/thread-self/status").read_text(encoding="utf-8", errors="replace")
    return int(next(line for line in status.splitlines() if line.startswith(which)).split()[1], 16)


def effective() -> int:
    """The effective set as bits."""
    return of_this_thread("CapEff")


def has(bits: int, name: str) -> bool:
    """True if a set has a capability."""
    return bool(bits >> BITS[name] & 1)


def keep_only(names: Iterable[str]) -> None:
    """Give up every capability but these for good, and those that a program could give us. As `limit_to`."""
    kept = _bits(names) & of_this_thread("CapPrm")
    _limit_bounding_set(0)
    with contextlib.suppress(OSError):  # before Linux 4.3 there is no such set
        prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    if (kept, kept, 0) != tuple(map(of_this_thread, ("CapEff", "CapPrm", "CapInh"))):
        _set(kept, 0)
    forbid_new()


def limit_to(names: Iterable[str]) -> None:
    """Give up every capability but these; programs that are started still get them.

    Of these, those that we had stay. CAP_SETPCAP stays too, to empty the bounding set later.
    Raises OSError if the kernel refuses, which it has no reason to.
    """
    wanted = _bits([*names, "CAP_SETPCAP"])
    _limit_bounding_set(wanted)
    _set(wanted & of_this_thread("CapPrm"), wanted & of_this_thread("CapInh"))
    forbid_new()


def use_permitted() -> None:
    """Make every permitted capability effective again, as after a change of user."""
    _set(of_this_thread("CapPrm"), 0)


def forbid_new() -> None:
    """No program that is run from now on gains anything: PR_SET_NO_NEW_PRIVS."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _limit_bounding_set(wanted: int) -> None:
    if not has(effective(), "CAP_SETPCAP"):
        return  # the kernel does not allow it; PR_SET_NO_NEW_PRIVS then does the same
    for bit in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii")) + 1):
        if not wanted >> bit & 1:
            prctl(_PR_CAPBSET_DROP, bit)


def _set(kept: int, inheritable: int) -> None:
    words = (_Word * 2)(
        *(
            _Word(kept >> shift & 0xFFFFFFFF, kept >> shift & 0xFFFFFFFF, inheritable >> shift & 0xFFFFFFFF)
            for shift in (0, 32)
        )
    )
    capset(_Header(_VERSION_3, 0), words)


def _bits(names: Iterable[str]) -> int:
    return sum({1 << BITS[name] for name in names})
