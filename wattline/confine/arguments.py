# SPDX-License-Identifier: Apache-2.0
"""System calls that are allowed only with some arguments. Pure."""

import socket
from collections.abc import Sequence
from typing import NamedTuple


class Argument(NamedTuple):
    """One argument's lower 32 bits: equal to one of `values`, or with all of the bits of `has_bits` set."""

    place: int
    values: tuple[int, ...] = ()
    has_bits: int = 0


# What each call needs: any one of these.
Rules = dict[str, tuple[Argument, ...]]

_CLONE_THREAD = 0x00010000  # include/uapi/linux/sched.h
_PRCTL = (  # include/uapi/linux/prctl.h
    1,  # PR_SET_PDEATHSIG
    15,  # PR_SET_NAME
    16,  # PR_GET_NAME
    21,  # PR_GET_SECCOMP
    23,  # PR_CAPBSET_READ
    39,  # PR_GET_NO_NEW_PRIVS
    0x53564D41,  # PR_SET_VMA: the C library names its memory
)
_IOCTL = (  # include/uapi/asm-generic/ioctls.h
    0x5401,  # TCGETS: Python's open looks for a terminal
    0x5413,  # TIOCGWINSZ
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX
    0x5451,  # FIOCLEX
)
NO_NETWORK = (socket.AF_UNIX,)
NETWORK = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)  # the last one: getaddrinfo


def rules(families: Sequence[int], pid: int, ioctls: Sequence[int] = ()) -> Rules:
    """The rules of a service with these families of sockets and this process id.

    `ioctls`: the requests that only this service makes.
    """
    allowed_families = (Argument(0, tuple(families)),)
    return {
        "clone": (Argument(0, has_bits=_CLONE_THREAD),),  # a thread, no process
        "ioctl": (Argument(1, (*_IOCTL, *ioctls)),),
        "kill": (Argument(0, (pid,)), Argument(1, (0,))),  # signal 0 only asks for a process
        "prctl": (Argument(0, _PRCTL),),
        "prlimit64": (Argument(0, (0, pid)),),
        "socket": allowed_families,
        "socketpair": allowed_families,
        "tgkill": (Argument(0, (pid,)),),
    }
