# SPDX-License-Identifier: Apache-2.0
"""Where the probe's program is pinned: what may be removed there, by the probe and by `wattline down`."""

import re
import shutil
from pathlib import Path

# A program version's pins (checksum and table sizes), or what a loader left that was killed on its way.
_OURS = re.compile(r"[0-9a-f]{8}-\d+-\d+|loading-\d+")


def remove_pins(directory: Path, keep: Path | None = None) -> list[Path]:
    """Unload every version of the program but one; which were removed.

    Only names that are ours: a mistaken path must cost nobody anything.
    """
    removed = [path for path in sorted(directory.iterdir()) if path != keep and _OURS.fullmatch(path.name)]
    for path in removed:
        shutil.rmtree(path)
    return removed
