# SPDX-License-Identifier: Apache-2.0
"""Let this thread, and those that it starts, write below some directories only.

Reading stays as it was: Python imports some modules late, from many places.
Source: include/uapi/linux/landlock.h; Documentation/userspace-api/landlock.rst, Linux 6.1.
"""

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

from .libc import syscall

# The same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GIVE_VERSION, _PATH_BENEATH = 1, 1

# LANDLOCK_ACCESS_FS_*: WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, _DIR, _REG, _SOCK, _FIFO, _BLOCK, _SYM
REMOVE_DIRECTORY = 1 << 4
WRITE = 1 << 1 | REMOVE_DIRECTORY | 1 << 5 | 0x7F << 6
# By the interface's version that has it: moving to another directory, cutting a file.
_LATER = {2: 1 << 13, 3: 1 << 14}


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def write_only_below(allowed: Mapping[Path, int]) -> None:
    """`allowed`: directories, and what may be done below each (WRITE, REMOVE_DIRECTORY).

    Needs PR_SET_NO_NEW_PRIVS. Raises OSError where the kernel, or a container's filter, has no Landlock.
    """
    version = syscall(_CREATE_RULESET, 0, 0, _GIVE_VERSION)
    later = sum(bits for since, bits in _LATER.items() if version >= since)
    ruleset = syscall(_CREATE_RULESET, _Ruleset(WRITE | later), ctypes.sizeof(_Ruleset), 0)
    try:
        for directory, access in allowed.items():
            opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                granted = access | (later if access == WRITE else 0)
                syscall(_ADD_RULE, ruleset, _PATH_BENEATH, _PathBeneath(granted, opened), 0)
            finally:
                os.close(opened)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
