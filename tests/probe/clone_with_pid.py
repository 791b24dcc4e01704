# SPDX-License-Identifier: Apache-2.0
"""python clone_with_pid.py PID TIMES: starts a child with a chosen pid so often, one after the other.

Each calls itself "reuse-N", uses N × 20 ms of CPU time and ends; "NAME PID" is printed for each.
"""

import ctypes
import os
import sys
import time

CLONE3 = 435  # the same number on every 64-bit machine
SIGCHLD = 17
PR_SET_NAME = 15

libc = ctypes.CDLL(None, use_errno=True)


class CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


def clone(pid: int) -> int:
    wanted = ctypes.c_int32(pid)
    args = CloneArgs(exit_signal=SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
    result = libc.syscall(CLONE3, ctypes.byref(args), ctypes.sizeof(args))
    if result < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    return result


for number in range(1, int(sys.argv[2]) + 1):
    name = f"reuse-{number}"
    child = clone(int(sys.argv[1]))
    if child == 0:
        libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
        until = time.process_time() + number * 0.02
        while time.process_time() < until:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    print(name, child, flush=True)
sys.stdin.read()
