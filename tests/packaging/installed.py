# SPDX-License-Identifier: Apache-2.0
"""`make install` into a directory of our own."""

import os
import subprocess
from pathlib import Path

from .units import ROOT


def make(target: str, destdir: Path, *, umask: int = 0o022, prefix: str = "", program: str = "make"):
    """A finished `make install` or `make uninstall`."""
    command = [program, "--no-print-directory", "-C", str(ROOT), target, f"DESTDIR={destdir}"]
    return subprocess.run(
        [*command, *([f"PREFIX={prefix}"] if prefix else [])],
        capture_output=True,
        text=True,
        umask=umask,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PREFIX"))},
    )


def files(destdir: Path) -> dict[str, int]:
    """Mode by path of all that was installed, but what is inside the environment."""
    found = {}
    for path in destdir.rglob("*"):
        if "lib/wattline/" not in str(path) and not path.is_dir():
            found[str(path.relative_to(destdir))] = path.lstat().st_mode & 0o777
    return found
