# SPDX-License-Identifier: Apache-2.0
"""Mounted file systems as /proc/self/mounts lists them."""

import re
from collections.abc import Iterator
from pathlib import Path

_WORDS_MIN = 3  # device, mount point, type
# Space, tab, newline, backslash and "#" in a path: mangle in fs/proc_namespace.c, Linux 6.1.
_ESCAPED = re.compile(r"\\([0-7]{3})")


def mounts(procfs: Path = Path("/proc")) -> Iterator[tuple[Path, str]]:
    """(mount point, type of file system), in the order of mounting."""
    # Names are bytes; what is no UTF-8 comes through unchanged.
    text = (procfs / "self" / "mounts").read_text(encoding="utf-8", errors="surrogateescape")
    for line in text.split("\n"):
        words = line.split(" ")
        if len(words) < _WORDS_MIN:
            continue
        yield Path(unescaped(words[1])), words[2]


def unescaped(path: str) -> str:
    """A path as it is, from how the kernel lists it; in mountinfo as well."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), path)
