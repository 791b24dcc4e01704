# SPDX-License-Identifier: Apache-2.0
"""The run directory under a running `up`: held, compared with what was made, put right, made anew."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from wattline.errors import Fatal
from wattline.opened import directory
from wattline.pipeline import SERVICES
from wattline.wire.rundir import Lock, lock_holder, prepare_run
from wattline.wire.shared import file_at

_LOOK_S = 1.0


class Taken(Fatal):
    """Another `up` holds the lock of the run directory."""


class Place(NamedTuple):
    """A directory as stat(2) describes it."""

    device: int
    inode: int
    mode: int
    uid: int
    gid: int

    def __str__(self) -> str:
        """Its rights, for people."""
        return f"mode {stat.S_IMODE(self.mode):o}, owner {self.uid}:{self.gid}"

    def is_same_directory(self, other: "Place") -> bool:
        """True if only the rights may differ."""
        return (self.device, self.inode) == (other.device, other.inode)


def place(path: Path) -> Place | None:
    """The directory at a path now; None if there is none."""
    try:
        info = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(info.st_mode):
        return None
    return Place(info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_gid)


class RunUpkeep:
    """Keeps WATTLINE_RUN, its lock and the stages' directories as they were made."""

    def __init__(self, run: Path, say: Callable[[str], None], stages: Sequence[str] = SERVICES) -> None:
        """`stages`: the five services, and power streams whose directories are made here too."""
        self._run = run
        self._stages = tuple(stages)
        self._lock_path = run / "lock"
        self._say = say
        self._lock: Lock | None = None
        self._lock_file: tuple[int, int] | None = None
        self._made: dict[Path, Place] = {}
        self._looked_s = float("-inf")
        self._fault = ""
        self.lost: tuple[str, ...] = ()  # stages whose directory was removed or replaced

    def hold(self) -> None:
        """Make the run directory if it is missing, and hold its lock. Raises Taken."""
        prepare_run(self._run)
        if self._lock is not None and self._lock_file == file_at(self._lock_path):
            return
        lock = Lock(self._lock_path)
        if not lock.acquire():
            lock.close()
            raise Taken(
                f"another `wattline up` (pid {lock_holder(self._lock_path)}) runs in {self._run}: `wattline "
                f"down --run {self._run}` stops it; to run a second one, give it a WATTLINE_RUN of its own"
            )
        self.close()
        self._lock, self._lock_file = lock, file_at(self._lock_path)

    def prepare(self, prepare: Callable[[str], None], stages: Sequence[str] | None = None) -> None:
        """Have the directories of stages made (default: of all), and remember all as they are now."""
        for stage in self._stages if stages is None else stages:
            prepare(stage)
        made = {}
        for path in (self._run, *(self._run / stage for stage in self._stages)):
            now = place(path)
            if now is None:
                raise Fatal(f"{path} is not a directory; expected one: remove it", Fatal.SETTINGS)
            made[path] = now
        self._made, self.lost, self._fault = made, (), ""

    def look(self) -> bool:
        """Compare with what was made, once a second; True if `lost` names any service.

        Rights are put back here. A directory that was removed or replaced needs `renew`, because the files
        that its service holds open lead nowhere. Raises Taken.
        """
        if time.monotonic() - self._looked_s < _LOOK_S:
            return False
        self._looked_s = time.monotonic()
        if self._is_lost(self._run):
            self.lost = self._stages
            return True
        self._put_rights_back(self._run)
        self.hold()  # the lock file alone may have been removed
        # One that could not be renewed stays lost: its service is stopped.
        lost = {stage for stage in self._stages if self._is_lost(self._run / stage)}
        self.lost = tuple(stage for stage in self._stages if stage in lost.union(self.lost))
        for stage in self._stages:
            if stage not in self.lost:
                self._put_rights_back(self._run / stage)
        return bool(self.lost)

    def renew(self, prepare: Callable[[str], None]) -> bool:
        """Make anew what is lost; False if that is not possible now. Its services must be stopped.

        Raises Taken.
        """
        try:
            self.hold()
            self.prepare(prepare, self.lost)
        except Taken:
            raise
        except (Fatal, OSError) as error:
            self._say_once(f"{self._run} can't be made anew: {error}. Trying again every second")
            return False
        return True

    def say_renewed(self, services: Sequence[str]) -> None:
        """Tell what was made anew, and what that means for the totals."""
        is_all = len(services) == len(self._stages)
        which = self._run if is_all else " and ".join(str(self._run / service) for service in services)
        loss = "totals begin anew" if "calculator" in services else "totals go on"
        ours = [service for service in services if service in SERVICES]
        who = "all five services" if is_all else " and ".join(ours)
        again = f", starting {who} again; {loss}" if ours else "; its stage is not one that `up` starts"
        self._say(f"{which} was removed or replaced: made anew{again}")

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _is_lost(self, path: Path) -> bool:
        now = place(path)
        return now is None or not self._made[path].is_same_directory(now)

    def _put_rights_back(self, path: Path) -> None:
        made, now = self._made[path], place(path)
        if now is None or now == made or not made.is_same_directory(now):
            return
        try:
            with directory(path) as opened:
                if os.fstat(opened).st_ino != made.inode:
                    return
                os.fchown(opened, made.uid, made.gid)
                os.fchmod(opened, stat.S_IMODE(made.mode))  # after chown, which clears setgid
        except OSError as error:
            self._say_once(f"{path} has {now}, expected {made}, and can't be put back: {error.strerror}")
            return
        self._say(f"{path} had {now}, expected {made}: put back")

    def _say_once(self, text: str) -> None:
        if text != self._fault:
            self._fault = text
            self._say(text)
