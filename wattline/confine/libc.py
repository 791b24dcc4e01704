# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library that Python has not got; each raises OSError."""

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """Do something to this process or thread, as man 2 prctl has it."""
    zero = ctypes.c_ulong(0)
    return _checked(
        _libc.prctl(option, ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero), "prctl(2)"
    )


def capset(header: ctypes.Structure, words: "ctypes.Array[Any]") -> None:
    """Set the capabilities of this thread."""
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(words)), "capset(2)")


def syscall(number: int, *arguments: "int | ctypes.Structure") -> int:
    """A system call by its number; a structure is passed by its address."""
    passed = [
        ctypes.byref(one) if isinstance(one, ctypes.Structure) else ctypes.c_ulong(one) for one in arguments
    ]
    return _checked(_libc.syscall(ctypes.c_long(number), *passed), f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
