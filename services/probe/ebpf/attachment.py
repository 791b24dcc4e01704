# SPDX-License-Identifier: Apache-2.0
"""Detection of removed or replaced pins of a loaded program.

A pinned link is held by its pin alone, so removing the pin detaches the program. Its maps and functions stay
usable through our descriptors: each flush would then charge all time to the task seen last.
"""

import os
from pathlib import Path

_NAMED_MAX = 3


class Attachment:
    """The directory of a program's pins, as it was when the program was opened."""

    def __init__(self, directory: Path) -> None:
        """Raises FileNotFoundError."""
        self._directory = directory
        self._opened = _seen(directory)

    def damage(self) -> str:
        """What has changed since, in words; empty if nothing has. Costs one listing of the directory."""
        try:
            now = _seen(self._directory)
        except (FileNotFoundError, NotADirectoryError):
            return f"{self._directory} is gone"
        (place, pins), (place_now, pins_now) = self._opened, now
        if place_now != place:
            return f"{self._directory} is another directory"
        gone = sorted(name for name, inode in pins.items() if pins_now.get(name) != inode)
        if not gone:
            return ""
        more = f" and {len(gone) - _NAMED_MAX} more" if len(gone) > _NAMED_MAX else ""
        return f"{', '.join(gone[:_NAMED_MAX])}{more} in {self._directory} removed or replaced"


def _seen(directory: Path) -> tuple[tuple[int, int], dict[str, int]]:
    """((device, inode) of a directory, inode by name of what is in it)."""
    info = directory.lstat()
    with os.scandir(directory) as entries:
        return (info.st_dev, info.st_ino), {entry.name: entry.inode() for entry in entries}
