# SPDX-License-Identifier: Apache-2.0
"""What a FUSE file system in Python needs, and how to get what is missing."""

import ctypes.util
import importlib.util
import shutil
from pathlib import Path

from wattline.errors import Fatal


def require_fuse() -> None:
    """Raises Fatal with all that is missing, at once."""
    missing = [
        what
        for what, there in (
            ("/dev/fuse (modprobe fuse; in a container, --device /dev/fuse)", Path("/dev/fuse").exists()),
            ("fusermount (apt install fuse3)", shutil.which("fusermount") is not None),
            ("libfuse.so.2 (apt install libfuse2)", ctypes.util.find_library("fuse") is not None),
            ("fusepy (pip install 'wattline[selftest]')", importlib.util.find_spec("fuse") is not None),
        )
        if not there
    ]
    if missing:
        raise Fatal(
            "the simulated machine is a FUSE file system, which needs /dev/fuse, fuse3, libfuse2 and fusepy; "
            f"missing: {', '.join(missing)}"
        )
