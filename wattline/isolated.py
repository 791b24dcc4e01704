# SPDX-License-Identifier: Apache-2.0
"""The command line of a process of our own, which runs no code from the current directory."""

import sys
from pathlib import Path
from typing import NamedTuple


class Code(NamedTuple):
    """One copy of Wattline: the interpreter that runs it, and its start.py.

    `alone`: the interpreter's own site-packages are left out, since the copy has all that it needs.
    """

    python: str
    start: Path
    alone: bool = False

    def command(self, module: str, *arguments: str) -> list[str]:
        """Arguments that run a module of Wattline (`services.probe`, `wattline.cli`)."""
        flags = ["-I", "-S"] if self.alone else ["-I"]
        return [self.python, *flags, str(self.start), module, *arguments]


# This very copy.
HERE = Code(sys.executable, Path(__file__).resolve().with_name("start.py"), bool(sys.flags.no_site))


def command(module: str, *arguments: str) -> list[str]:
    """Arguments that run a module of this very copy."""
    return HERE.command(module, *arguments)
