# SPDX-License-Identifier: Apache-2.0
"""A command line for another user, shown as the cure where rights are missing."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .choice import default_run


def as_root(command: str, arguments: Sequence[str], run: Path, uid: int = 0) -> str:
    """A command line through sudo, which drops WATTLINE_RUN: the run directory becomes a flag."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "wattline" else "wattline"
    names_run = any(argument == "--run" or argument.startswith("--run=") for argument in arguments)
    flags = [] if names_run or run == default_run() else ["--run", str(run)]
    user = ["-u", f"#{uid}"] if uid else []
    return shlex.join(["sudo", *user, program, command, *arguments, *flags])
