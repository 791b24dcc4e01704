# SPDX-License-Identifier: Apache-2.0
"""What all Wattline services share, and the operator's commands."""

import os
import sys

__version__ = "0.1.0"


def _leave_nothing() -> None:
    """Root must not leave files of its own (__pycache__) in a user's checkout or installation."""
    cached: str = globals().get("__cached__") or ""
    if os.geteuid() == os.stat(__file__).st_uid:  # noqa: PTH116 pathlib is not needed to begin
        return
    sys.dont_write_bytecode = True
    try:  # Python has written this file's own before it ran it
        if os.stat(cached).st_uid == os.geteuid():  # noqa: PTH116
            os.unlink(cached)  # noqa: PTH108
            os.rmdir(os.path.dirname(cached))  # noqa: PTH106, PTH120
    except OSError:
        pass


_leave_nothing()
