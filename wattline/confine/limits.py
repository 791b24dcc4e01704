# SPDX-License-Identifier: Apache-2.0
"""What one service keeps of the rights that it was started with."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from wattline import readable
from wattline.errors import Fatal
from wattline.log import Log

from . import capabilities, landlock, seccomp, user
from .arguments import NO_NETWORK
from .system_calls import Numbers

SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True)
class Limits(Generic[SettingsT]):
    """By default: nothing but files, memory and sockets of the AF_UNIX family.

    `capabilities`: by their names. `groups`: other groups that a changed user needs, asked before the change.
    `families`: of sockets. `calls`: system calls beyond those of every service. `ioctls`: requests of
    ioctl(2) beyond those of every service. `is_final`: False for a service that starts programs of its own at
    first, and then gives up the rest by itself.
    """

    capabilities: Callable[[SettingsT], Sequence[str]] = field(default=lambda _settings: ())
    groups: Callable[[SettingsT], Sequence[int]] = field(default=lambda _settings: ())
    families: Callable[[SettingsT], Sequence[int]] = field(default=lambda _settings: NO_NETWORK)
    calls: Callable[[SettingsT], Mapping[str, Numbers]] = field(default=lambda _settings: {})
    ioctls: Callable[[SettingsT], Sequence[int]] = field(default=lambda _settings: ())
    is_final: bool = True

    def change_rights(self, new_user: str, settings: SettingsT) -> None:
        """Become another user (UID:GID), if one is named, and keep only the capabilities needed.

        Raises Fatal(PERMISSION) if that leaves code unreadable that is yet to be imported.
        """
        kept, groups = self.capabilities(settings), self.groups(settings)
        is_root = os.geteuid() == 0
        code = readable.imported_from() if is_root else []
        try:
            if new_user:
                user.become(new_user, groups)
            if self.is_final:
                capabilities.keep_only(kept)
            else:
                capabilities.limit_to(kept)
        except OSError as error:
            raise Fatal(f"privileges can't be given up: {error}", Fatal.PERMISSION) from None
        readable.require(code)


def limit_writes(log: Log, allowed: Mapping[Path, int]) -> None:
    """Have the kernel deny writing outside of these directories (landlock.py), if it can."""
    try:
        landlock.write_only_below(allowed)
    except OSError as error:
        log.info("no_landlock", cause=error, lost="writing is limited by user and capabilities only")


def filter_calls(
    log: Log,
    calls: Mapping[str, Numbers],
    families: Sequence[int] = NO_NETWORK,
    ioctls: Sequence[int] = (),
) -> None:
    """Have the kernel deny all other system calls; where that can't be had, one warning."""
    try:
        seccomp.allow_only(calls, families, ioctls)
    except seccomp.Unfiltered as error:
        log.warning("no_seccomp", cause=error, lost="system calls are limited by user and capabilities only")
