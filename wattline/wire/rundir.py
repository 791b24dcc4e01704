# SPDX-License-Identifier: Apache-2.0
"""WATTLINE_RUN: a directory in shared memory with one subdirectory per service.

    WATTLINE_RUN/SERVICE/stream.sock   its ZeroMQ PUB socket
    WATTLINE_RUN/SERVICE/last          its last frame, mapped
    WATTLINE_RUN/SERVICE/lock          held (flock) while it runs
    WATTLINE_RUN/SERVICE/pid           its process id

Only the owner of a subdirectory can write there; readers check that before they trust what is in it. Where
the services' users may all make directories (a sticky WATTLINE_RUN of their group), each has its own name.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from wattline.errors import Fatal, Retry

# In the order of the pipeline.
SERVICES = ("probe", "power", "metadata", "calculator", "exporter")
DIRECTORY_MODE = 0o2750  # setgid: what is made inside belongs to the common group
_SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path less its NUL; man 7 unix


class ServiceDirectory:
    """The names inside one service's directory."""

    def __init__(self, run: Path, service: str) -> None:
        self.path = run / service
        self.socket = self.path / "stream.sock"
        self.last = self.path / "last"
        self.lock = self.path / "lock"
        self.pid = self.path / "pid"
        self.ledger = self.path / "ledger"
        if len(os.fsencode(self.socket)) > _SOCKET_PATH_BYTES_MAX:
            raise Fatal(
                f"the socket path {self.socket} has {len(os.fsencode(self.socket))} bytes, "
                f"expected at most {_SOCKET_PATH_BYTES_MAX}: choose a shorter WATTLINE_RUN",
                Fatal.SETTINGS,
            )

    def prepare(self) -> None:
        """Make the directory for ourselves, or check that the one there is ours."""
        prepare_run(self.path.parent)
        rightful = self._rightful_uids()
        if rightful is not None and os.geteuid() not in rightful:
            raise Fatal(
                f"this is uid {os.geteuid()}, expected {' or '.join(map(str, rightful))}, whose name "
                f"{self.path.name} is in {self.path.parent}, to which all of its group may write",
                Fatal.PERMISSION,
            )
        try:
            self.path.mkdir(mode=0o750)
        except FileExistsError:
            pass
        except PermissionError as error:
            raise Fatal(
                f"cannot make {self.path} ({error.strerror}): expected a WATTLINE_RUN that uid "
                f"{os.geteuid()} may write to; choose another or have its owner make the directory",
                Fatal.PERMISSION,
            ) from None
        info = self.path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            raise Fatal(
                f"{self.path} belongs to uid {info.st_uid}, expected {os.geteuid()}: another user's "
                "Wattline? Set WATTLINE_RUN to a directory of your own",
                Fatal.PERMISSION,
            )
        if stat.S_IMODE(info.st_mode) != DIRECTORY_MODE:
            self.path.chmod(DIRECTORY_MODE)

    def distrust(self) -> str | None:
        """Why a reader should not believe what is in here; None if all is well.

        Raises Retry while the service has not been here yet.
        """
        try:
            directory = self.path.lstat()
        except FileNotFoundError:
            raise Retry(f"{self.path} does not exist yet") from None
        except PermissionError:
            return f"{self.path} is not readable for uid {os.geteuid()}: is it in the common group?"
        if (reason := self._distrust_of(directory)) is not None:
            return reason
        for path in (self.socket, self.last):
            try:
                owner = path.lstat().st_uid
            except FileNotFoundError:
                continue
            except PermissionError:
                return f"{self.path} is not readable for uid {os.geteuid()}: is it in the common group?"
            if owner != directory.st_uid:
                return f"{path} belongs to uid {owner}, expected {directory.st_uid}, who owns the directory"
        return None

    def _distrust_of(self, directory: os.stat_result) -> str | None:
        """The same of the directory itself."""
        if not stat.S_ISDIR(directory.st_mode):
            return f"{self.path} is no directory"
        if directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(directory.st_mode)
            return f"{self.path} has mode {mode:o}, expected it writable by its owner only"
        rightful = self._rightful_uids()
        if rightful is not None and directory.st_uid not in rightful:
            expected = " or ".join(map(str, rightful))
            return f"{self.path} belongs to uid {directory.st_uid}, expected {expected}: a name taken"
        return None

    def _rightful_uids(self) -> tuple[int, ...] | None:
        """Whose name this is, where whoever comes first could take it; None elsewhere.

        The group's number and the service's place in the pipeline, as `wattline up` numbers them; the first
        one, the probe, may be root.
        """
        run = self.path.parent.lstat()
        is_shared = run.st_gid and run.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not is_shared or self.path.name not in SERVICES:
            return None
        place = SERVICES.index(self.path.name)
        return (run.st_gid + place,) if place else (run.st_gid, 0)


def prepare_run(run: Path) -> None:
    """Make WATTLINE_RUN if it is missing; refuse one in which strangers could put things."""
    try:
        run.mkdir(mode=0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise Fatal(
            f"cannot make WATTLINE_RUN {run}: {error.strerror}; its parent must exist and be writable",
            Fatal.SETTINGS,
        ) from None
    info = run.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise Fatal(f"WATTLINE_RUN {run} is not a directory", Fatal.SETTINGS)
    if info.st_uid not in (0, os.geteuid()):
        raise Fatal(
            f"WATTLINE_RUN {run} belongs to uid {info.st_uid}, expected {os.geteuid()} or root: "
            "set WATTLINE_RUN to a directory of your own",
            Fatal.PERMISSION,
        )
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not info.st_mode & stat.S_ISVTX:
        raise Fatal(
            f"WATTLINE_RUN {run} has mode {stat.S_IMODE(info.st_mode):o}: others may replace what is in it; "
            "take their write permission away, or set the sticky bit",
            Fatal.PERMISSION,
        )


class Lock:
    """An exclusive flock on a file or directory. The kernel releases it however the holder ends."""

    def __init__(self, path: Path) -> None:
        # A directory can be locked as it is; a file is made if it is missing.
        flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
        self.held = False

    def acquire(self) -> bool:
        """Try once; False if somebody else holds it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.held = True
        return True

    def close(self) -> None:
        """Release. The file stays: removing it would let two holders lock two files of one name."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def lock_holder(path: Path) -> int | None:
    """Process id of whoever holds the flock on `path`, as the kernel says; None if nobody does.

    Source: /proc/locks (man 5 proc): "1: FLOCK ADVISORY WRITE pid major:minor:inode start end".
    """
    try:
        info = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(info.st_mode) and not (stat.S_ISREG(info.st_mode) and info.st_nlink == 1):
        return None  # a link to somebody else's lock would make its holder look like ours
    device_and_inode = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if "FLOCK" in words and "->" not in words and words[5] == device_and_inode:
            return int(words[4])
    return None
