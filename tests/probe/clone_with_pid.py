# SPDX-License-Identifier: Apache-2.0
"""python clone_with_pid.py PID TIMES: starts a child with a chosen pid so often, one after the other.

Each calls itself "reuse-N", uses N × 20 ms of CPU time and ends; "NAME PID" is printed for each.
"""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

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


def free_pid() -> int:
    """A process id far behind the one that the kernel gave out last: it comes to it only after all others."""
    last = subprocess.Popen(["true"])
    last.wait()
    highest = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    ids = ((last.pid - 1000 - number) % highest for number in range(1000))
    return next(pid for pid in ids if pid > 1000 and not Path(f"/proc/{pid}").exists())


def main(pid: int, times: int) -> None:
    for number in range(1, times + 1):
        name = f"reuse-{number}"
        child = clone(pid)
        if child == 0:
            libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
            until = time.process_time() + number * 0.02
            while time.process_time() < until:
                pass
            os._exit(0)
        os.waitpid(child, 0)
        print(name, child, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
