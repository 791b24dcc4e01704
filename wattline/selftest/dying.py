# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the one that started them, however that ends.

As a module: COMMAND ARGUMENT… runs a command that SIGTERM then ends.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h; outlasts execve


def die_with_parent(number: signal.Signals) -> None:
    """Let the kernel send us a signal when our parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 our own services
