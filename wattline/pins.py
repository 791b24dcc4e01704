# SPDX-License-Identifier: Apache-2.0
"""Where the probe's program is pinned: what may be removed there, by the probe and by `wattline down`."""

import re
import shutil
import time
from pathlib import Path

# A program version's pins (checksums of layout and program, what it records; or as version 0.1 named them:
# checksum and table sizes), or what a loader left that was killed on its way.
_PROGRAM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[a-z_+]+|[0-9a-f]{8}-\d+-\d+")
_HALF_LOADED = re.compile(r"loading-\d+")


def is_pin_directory(path: Path) -> bool:
    """Whether a name is that of a program version's pins."""
    return _PROGRAM.fullmatch(path.name) is not None


def remove_pins(directory: Path, keep: Path | None = None) -> list[Path]:
    """Unload every version of the program but one; which were removed.

    Only names that are ours: a mistaken path must cost nobody anything.
    """
    removed = [
        path
        for path in sorted(directory.iterdir())
        if path != keep and (is_pin_directory(path) or _HALF_LOADED.fullmatch(path.name))
    ]
    for path in removed:
        # Renamed first: killed in the midst of it, we leave nothing that looks like a whole program.
        half_removed = path.with_name(f"loading-{time.monotonic_ns()}")
        path.rename(half_removed)
        shutil.rmtree(half_removed)
    return removed
