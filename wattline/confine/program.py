# SPDX-License-Identifier: Apache-2.0
"""A seccomp filter as a classic BPF program. Pure.

It looks at struct seccomp_data (include/uapi/linux/seccomp.h): the call's number at offset 0, the
architecture at 4, six arguments of 8 bytes from 16. All architectures of the table are little-endian.
"""

import errno
from collections.abc import Mapping
from typing import NamedTuple

from .arguments import Argument

# The codes are those of include/uapi/linux/bpf_common.h.
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_ABOVE = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
DENY = 0x00050000 | errno.EPERM  # SECCOMP_RET_ERRNO
ABSENT = 0x00050000 | errno.ENOSYS
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_X32 = 0x3FFFFFFF  # x86_64: above are the calls of the x32 ABI


class Instruction(NamedTuple):
    """struct sock_filter: jumps count the instructions to skip."""

    code: int
    if_true: int
    if_false: int
    value: int


class Calls(NamedTuple):
    """Numbers of system calls: allowed, allowed with some arguments, and those that seem absent.

    Above `newest` every call seems absent.
    """

    allowed: frozenset[int]
    by_arguments: Mapping[int, tuple[Argument, ...]]
    absent: frozenset[int]
    newest: int


def program(machine: str, calls: Calls) -> list[Instruction]:
    """The filter: everything that is not in `calls` is denied."""
    made = [
        Instruction(_LOAD, 0, 0, 4),
        Instruction(_IF_EQUAL, 1, 0, AUDIT_ARCHITECTURE[machine]),
        _returning(DENY),
        Instruction(_LOAD, 0, 0, 0),
        Instruction(_IF_ABOVE, 0, 1, _X32),
        _returning(DENY),
        Instruction(_IF_ABOVE, 0, 1, calls.newest),
        _returning(ABSENT),
    ]
    for number in sorted(calls.allowed - calls.by_arguments.keys()):
        made += [Instruction(_IF_EQUAL, 0, 1, number), _returning(ALLOW)]
    for number in sorted(calls.absent):
        made += [Instruction(_IF_EQUAL, 0, 1, number), _returning(ABSENT)]
    for number, alternatives in sorted(calls.by_arguments.items()):
        checks = [step for argument in alternatives for step in _check(argument)] + [_returning(DENY)]
        made += [Instruction(_IF_EQUAL, 0, len(checks), number), *checks]
    return [*made, _returning(DENY)]


def _check(argument: Argument) -> list[Instruction]:
    """Allow if the argument is one of those; else go on. Changes the accumulator."""
    load = Instruction(_LOAD, 0, 0, 16 + 8 * argument.place)
    made: list[Instruction] = []
    for value in argument.values:
        made += [load, Instruction(_IF_EQUAL, 0, 1, value), _returning(ALLOW)]
    if argument.has_bits:
        bits = argument.has_bits
        made += [load, Instruction(_AND, 0, 0, bits), Instruction(_IF_EQUAL, 0, 1, bits), _returning(ALLOW)]
    return made


def _returning(value: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, value)
