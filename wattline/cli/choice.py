# SPDX-License-Identifier: Apache-2.0
"""The run directory that a command works on: the given one, else the one in which Wattline runs."""

import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wattline.errors import Fatal
from wattline.temporary import is_temporary

from .running import Found, Instance, find, instance_in


class Choice(NamedTuple):
    """A run directory, what runs in it, and where else Wattline runs."""

    run: Path
    instance: Instance | None
    elsewhere: tuple[Instance, ...] = ()
    is_partial: bool = False  # other users' processes could not be looked at

    @property
    def hint(self) -> str:
        """The place where Wattline runs instead, in words; empty if something runs here. Pure."""
        if self.instance is not None:
            return ""
        if self.elsewhere:
            cures = ", or ".join(f"--run {instance.run}" for instance in self.elsewhere)
            return f"Wattline runs in {_runs(self.elsewhere)}: add {cures}"
        if self.is_partial:
            return "no Wattline was found elsewhere, but only root can look at all processes (sudo)"
        return "no Wattline runs elsewhere either"


def choose(run: Path, *, is_given: bool, command: str) -> Choice:
    """The directory for a command, with a line on standard error if it is another than the default.

    `is_given`: named by flag, variable or file, so taken as it is. Raises Fatal if several could be meant,
    or if it is no directory.
    """
    _require_directory(run)
    there = instance_in(run)
    choice = decide(run, is_given=is_given, there=there, found=Found((), False) if there else find())
    if choice.run != run:
        print(
            f"wattline {command}: nothing runs in {run}; using {choice.run}, where Wattline runs",
            file=sys.stderr,
        )
    return choice


def _require_directory(run: Path) -> None:
    try:
        is_directory = stat.S_ISDIR(run.stat().st_mode)
    except NotADirectoryError:  # a part of its path is a file
        is_directory = False
    except OSError:  # missing or closed to us: each command has its own word on that
        return
    if not is_directory:
        raise Fatal(f"WATTLINE_RUN {run} is not a directory; expected one in shared memory", Fatal.SETTINGS)


def decide(run: Path, *, is_given: bool, there: Instance | None, found: Found) -> Choice:
    """The rule. Pure."""
    elsewhere = tuple(instance for instance in found.instances if instance.run != run)
    lasting = tuple(instance for instance in elsewhere if not is_temporary(instance.run))
    if is_given or there is not None or not lasting:
        return Choice(run, there, elsewhere, found.is_partial)
    if len(lasting) > 1:
        cures = " or ".join(f"--run {instance.run}" for instance in lasting)
        raise Fatal(
            f"nothing runs in {run}, and Wattline runs in {_runs(lasting)}: choose one with {cures}",
            Fatal.USAGE,
        )
    return Choice(lasting[0].run, lasting[0])


def default_run() -> Path:
    """The run directory of a Wattline without settings."""
    import msgspec  # noqa: PLC0415 `wattline health` does without

    from wattline.settings import CommonSettings  # noqa: PLC0415 as above

    default = next(one.default for one in msgspec.structs.fields(CommonSettings) if one.name == "run")
    assert isinstance(default, Path)
    return default


def is_given(run: Path) -> bool:
    """True if loaded settings have their run directory from a flag, a variable or a file.

    By identity: a value that somebody gave is an object of its own, even if it equals the default.
    """
    return run is not default_run()


def _runs(instances: Sequence[Instance]) -> str:
    return " and ".join(str(instance.run) for instance in instances)
