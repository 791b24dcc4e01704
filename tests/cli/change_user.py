# SPDX-License-Identifier: Apache-2.0
"""Become an ordinary user for good, in a process that has loaded all that it needs."""

import codecs
import ctypes
import locale  # noqa: F401 argparse loads it late
import os

_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h


def become(uid: int) -> None:
    """As if this user had started the process: the user may look at it in /proc, as at any other of theirs.

    The interpreter may lie where only root can read, so encodings that Python loads late are loaded here.
    """
    for encoding in ("ascii", "latin-1", "idna"):
        codecs.lookup(encoding)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
