# SPDX-License-Identifier: Apache-2.0
"""Where the probe's program is pinned: what may be removed there, by the probe and by `wattline down`."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

# A program version's pins (checksums of layout and program, what it records; or as version 0.1 named them:
# checksum and table sizes), or what a loader left that was killed on its way.
_PROGRAM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[a-z_+]+|[0-9a-f]{8}-\d+-\d+")
_HALF_LOADED = re.compile(r"loading-\d+")


def is_pin_directory(path: Path) -> bool:
    """Whether a name is that of a program version's pins."""
    return _PROGRAM.fullmatch(path.name) is not None


def is_pinned(directory: Path) -> bool:
    """Whether a program is pinned in a directory."""
    return any(map(is_pin_directory, directory.iterdir()))


def remove_pins(directory: Path, keep: Path | None = None) -> list[Path]:
    """Unload every version of the program but one; which were removed.

    Only names that are ours: a mistaken path must cost nobody anything.
    """
    return _remove(
        path
        for path in sorted(directory.iterdir())
        if path != keep and (is_pin_directory(path) or _is_half_loaded(path))
    )


def tidy(directory: Path) -> None:
    """Remove what a failed start left: a half-loaded program, and the directory if nothing else is in it."""
    with contextlib.suppress(OSError):  # others' things are in it, or it is gone
        _remove(path for path in sorted(directory.iterdir()) if _is_half_loaded(path))
        directory.rmdir()


def _is_half_loaded(path: Path) -> bool:
    return _HALF_LOADED.fullmatch(path.name) is not None


def _remove(paths: Iterable[Path]) -> list[Path]:
    removed = list(paths)
    for path in removed:
        # Renamed first: killed in the midst of it, we leave nothing that looks like a whole program.
        half_removed = path.with_name(f"loading-{time.monotonic_ns()}")
        path.rename(half_removed)
        shutil.rmtree(half_removed)
    return removed
