# SPDX-License-Identifier: Apache-2.0
"""Standard input, output and errors of a process that was started without (`wattline up >&-`)."""

import contextlib
import os
import sys
from pathlib import Path


def have_standard_streams() -> None:
    """Put /dev/null in place of those that are closed.

    Otherwise the next file or socket that is opened gets the descriptor 1, and log lines are written to it.
    """
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 for good
