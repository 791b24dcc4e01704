# SPDX-License-Identifier: Apache-2.0
"""Run a command to which the kernel answers one system call with an error.

Arguments: CALL ERROR COMMAND…

As a kernel's own rule or a container engine's filter does it: all other calls work.
"""

import errno
import os
import sys

from wattline.confine.program import ALLOW, Instruction
from wattline.confine.seccomp import install
from wattline.confine.system_calls import EBPF, numbers

# include/uapi/linux/bpf_common.h
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_REFUSE = 0x00050000  # SECCOMP_RET_ERRNO, include/uapi/linux/seccomp.h


def command(call: str, error: str) -> tuple[str, ...]:
    """What to put before a command."""
    return (sys.executable, "-m", "tests.refusing", call, error)


def main() -> None:
    """Refuse, then become the command."""
    call, error, *rest = sys.argv[1:]
    machine = os.uname().machine
    number = numbers(machine, EBPF)[call]
    refusal = _REFUSE | getattr(errno, error)
    install(
        [
            Instruction(_LOAD, 0, 0, 0),
            Instruction(_IF_EQUAL, 0, 1, number),
            Instruction(_RETURN, 0, 0, refusal),
            Instruction(_RETURN, 0, 0, ALLOW),
        ],
        machine,
    )
    os.execvp(rest[0], rest)  # noqa: S606 it is what this program is for


if __name__ == "__main__":
    main()
