# SPDX-License-Identifier: Apache-2.0
"""Limit the system calls of this process, in all of its threads and for good."""

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence

from . import system_calls
from .arguments import NO_NETWORK, rules
from .libc import syscall
from .program import Calls, Instruction, program
from .system_calls import Numbers

_SECCOMP_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1  # include/uapi/linux/seccomp.h
_BITS_64 = 2**32


class Unfiltered(OSError):  # noqa: N818 it is what the process is
    """The kernel, or a container's own filter, does not let this process have one."""


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class _Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


def allow_only(
    calls: Mapping[str, Numbers], families: Sequence[int] = NO_NETWORK, ioctls: Sequence[int] = ()
) -> None:
    """Deny (EPERM) every system call but these, sockets of other families, and unusual ioctls but these.

    Needs PR_SET_NO_NEW_PRIVS. Raises Unfiltered with the reason.
    """
    machine = os.uname().machine if sys.maxsize > _BITS_64 else f"{os.uname().machine} with 32 bits"
    try:
        install(program(machine, calls_of(machine, calls, families, os.getpid(), ioctls)), machine)
    except KeyError:
        raise Unfiltered(f"there is no table of system calls for {machine}") from None
    except OSError as error:
        raise Unfiltered(f"the kernel has no seccomp filters or does not allow one here ({error})") from None


def calls_of(
    machine: str,
    calls: Mapping[str, Numbers],
    families: Sequence[int],
    pid: int,
    ioctls: Sequence[int] = (),
) -> Calls:
    """What a service may call on an architecture. Raises KeyError for an architecture without a table."""
    allowed = system_calls.numbers(machine, calls)
    return Calls(
        frozenset(allowed.values()),
        {allowed[name]: alternatives for name, alternatives in rules(families, pid, ioctls).items()},
        frozenset(system_calls.numbers(machine, system_calls.ABSENT).values()),
        system_calls.NEWEST,
    )


def install(instructions: Sequence[Instruction], machine: str) -> None:
    """seccomp(2) with a filter for all threads."""
    array = (_Instruction * len(instructions))(*(_Instruction(*one) for one in instructions))
    filter_ = _Filter(len(instructions), ctypes.addressof(array))
    number = system_calls.numbers(machine, {"seccomp": system_calls.SECCOMP})["seccomp"]
    blocking = syscall(number, _SECCOMP_SET_MODE_FILTER, _FILTER_FLAG_TSYNC, filter_)
    if blocking:
        raise OSError(f"thread {blocking} has another filter")
