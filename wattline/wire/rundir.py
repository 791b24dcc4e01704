# SPDX-License-Identifier: Apache-2.0
"""WATTLINE_RUN: a directory in shared memory with one subdirectory per service.

    WATTLINE_RUN/SERVICE/stream.sock   its ZeroMQ PUB socket
    WATTLINE_RUN/SERVICE/last          its last frame, mapped
    WATTLINE_RUN/SERVICE/lock          held (flock) while it runs
    WATTLINE_RUN/SERVICE/pid           its process id

Only the owner of a subdirectory can write there; readers check that before they trust what is in it. Where
the services' users may all make directories (a sticky WATTLINE_RUN of their group), each has its own name.
"""

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from wattline.errors import Fatal, Retry
from wattline.opened import (
    OTHERS_WRITE,
    directory,
    make_directory,
    open_directory,
    open_plain,
    remove,
    replaceable_by_others,
)
from wattline.pipeline import SERVICES, is_extra_stream, service_of

from .room import is_full, no_room

DIRECTORY_MODE = 0o2750  # setgid: what is made inside belongs to the common group
LOCK_MODE = 0o600  # a user who can open it, even for reading, can hold it
_SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path less its NUL; man 7 unix


class ServiceDirectory:
    """The names inside one service's directory.

    `uid`: the user that the setting `power.streams` gives to a power stream, if it does.
    """

    def __init__(self, run: Path, service: str, uid: int | None = None) -> None:
        self._uid = uid
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

    def prepare(self, *, make_run: bool = True) -> None:
        """Make the directory for ourselves, or check that the one there is ours.

        Without `make_run`, WATTLINE_RUN must be there: under `up`, only `up` makes it.
        """
        run = open_run(self.path.parent, make=make_run)
        try:
            self._prepare_in(run)
        finally:
            os.close(run)

    def _prepare_in(self, run: int) -> None:
        rightful = self._rightful_uids()
        if rightful is not None and os.geteuid() not in rightful:
            raise Fatal(
                f"this is uid {os.geteuid()}, expected {' or '.join(map(str, rightful))}, whose name "
                f"{self.path.name} is in {self.path.parent}, to which all of its group may write{self._cure}",
                Fatal.PERMISSION,
            )
        try:
            make_directory(self.path.name, run)
        except PermissionError as error:
            raise Fatal(
                f"cannot make {self.path} ({error.strerror}): expected a WATTLINE_RUN that uid "
                f"{os.geteuid()} may write to; choose another or have its owner make the directory",
                Fatal.PERMISSION,
            ) from None
        except OSError as error:
            if is_full(error):
                raise no_room(self.path, 0) from None
            raise
        info = os.stat(self.path.name, dir_fd=run, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            raise Fatal(
                f"{self.path} belongs to uid {info.st_uid}, expected {os.geteuid()}: another user's "
                "Wattline? Set WATTLINE_RUN to a directory of your own",
                Fatal.PERMISSION,
            )
        with directory(self.path.name, run) as opened:
            info = os.fstat(opened)
            if stat.S_IMODE(info.st_mode) != DIRECTORY_MODE and info.st_uid == os.geteuid():
                os.fchmod(opened, DIRECTORY_MODE)

    @property
    def _cure(self) -> str:
        """The setting that gives this name to a user, in words; empty for one of the five services."""
        name = self.path.name
        if not is_extra_stream(name):
            return ""
        return f"; to give it to this user, set power.streams to {name}:{os.geteuid()}=ZONE for all stages"

    def write_pid(self) -> None:
        """Write the process id, in a directory that is our own."""
        with directory(self.path) as opened:
            remove(self.pid.name, opened)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(open_plain(self.pid.name, opened, flags, 0o644), "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")

    def remove_pid(self) -> None:
        """Remove that file."""
        with contextlib.suppress(OSError), directory(self.path) as opened:  # the directory is gone
            remove(self.pid.name, opened)

    def distrust(self) -> str | None:
        """Why a reader should not believe what is in here; None if all is well.

        Raises Retry while the service has not been here yet.
        """
        try:
            own = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise Retry(f"{self.path} does not exist yet") from None
        except PermissionError:
            return self._unreadable()
        if (reason := self._distrust_of(own)) is not None:
            return reason
        for path in (self.socket, self.last):
            try:
                owner = path.lstat().st_uid
            except FileNotFoundError:
                continue
            except PermissionError:
                return self._unreadable()
            if owner != own.st_uid:
                return f"{path} belongs to uid {owner}, expected {own.st_uid}, who owns the directory"
        return None

    def _unreadable(self) -> str:
        is_extra = is_extra_stream(self.path.name)
        cure = "; start it with --user UID:GID, the second being that group's number" if is_extra else ""
        return f"{self.path} is not readable for uid {os.geteuid()}: is it in the common group?{cure}"

    def _distrust_of(self, own: os.stat_result) -> str | None:
        """The same of the directory itself."""
        if not stat.S_ISDIR(own.st_mode):
            return f"{self.path} is no directory"
        if own.st_mode & OTHERS_WRITE:
            mode = stat.S_IMODE(own.st_mode)
            return f"{self.path} has mode {mode:o}, expected it writable by its owner only"
        rightful = self._rightful_uids()
        if rightful is not None and own.st_uid not in rightful:
            expected = " or ".join(map(str, rightful))
            return f"{self.path} belongs to uid {own.st_uid}, expected {expected}: a name taken"
        return None

    def _rightful_uids(self) -> tuple[int, ...] | None:
        """Whose name this is, where whoever comes first could take it; None elsewhere.

        The user that the setting names. Otherwise the group's number and the service's place in the pipeline,
        as `wattline up` numbers them; the first one, the probe, may be root.
        """
        run = self.path.parent.lstat()
        if not run.st_mode & OTHERS_WRITE:
            return None
        if self._uid is not None:
            return (self._uid,)
        service = service_of(self.path.name)
        if not run.st_gid or service not in SERVICES:
            return None
        place = SERVICES.index(service)
        return (run.st_gid + place,) if place else (run.st_gid, 0)


def extra_streams(run: Path) -> tuple[str, ...]:
    """The names of directories of power streams beside `power`, as a stage makes them, in their order."""
    try:
        names = sorted(name for name in os.listdir(run) if is_extra_stream(name))  # noqa: PTH208 names only
    except OSError:  # missing or closed to us
        return ()
    return tuple(name for name in names if _is_stages(run / name))


def _is_stages(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:  # removed meanwhile
        return False
    return stat.S_ISDIR(mode) and stat.S_IMODE(mode) == DIRECTORY_MODE


def prepare_run(run: Path) -> None:
    """Make WATTLINE_RUN if it is missing; refuse one in which strangers could put things."""
    os.close(open_run(run))


def open_run(run: Path, *, make: bool = True) -> int:
    """The same, if it is to be made; the descriptor of the directory that was checked."""
    if os.geteuid() == 0 and (above := replaceable_by_others(run)):
        raise Fatal(
            f"WATTLINE_RUN {run} can be replaced by the users who may write to {above}: expected a place of "
            "root's, such as /run/wattline or /dev/shm/wattline",
            Fatal.PERMISSION,
        )
    is_new = make and _make_run(run)
    try:
        info = run.lstat()
    except FileNotFoundError:
        raise Fatal(
            f"WATTLINE_RUN {run} is missing; expected the one that the process above this one made. "
            "`wattline up` makes it anew"
        ) from None
    if not stat.S_ISDIR(info.st_mode):
        raise Fatal(f"WATTLINE_RUN {run} is not a directory", Fatal.SETTINGS)
    try:
        opened = open_directory(run)
    except PermissionError as error:
        raise Fatal(f"WATTLINE_RUN {run}: {error.strerror}", Fatal.PERMISSION) from None
    try:
        _require_safe(run, os.fstat(opened))
        if is_new:
            os.fchmod(opened, 0o755)  # whatever the umask: the services are users of their own
    except BaseException:
        os.close(opened)
        raise
    return opened


def _require_safe(run: Path, info: os.stat_result) -> None:
    """Raise Fatal if strangers could put things in WATTLINE_RUN."""
    if info.st_uid not in (0, os.geteuid()):
        raise Fatal(
            f"WATTLINE_RUN {run} belongs to uid {info.st_uid}, expected {os.geteuid()} or root: "
            "set WATTLINE_RUN to a directory of your own",
            Fatal.PERMISSION,
        )
    if info.st_mode & OTHERS_WRITE and not info.st_mode & stat.S_ISVTX:
        raise Fatal(
            f"WATTLINE_RUN {run} has mode {stat.S_IMODE(info.st_mode):o}: others may replace what is in it; "
            "take their write permission away, or set the sticky bit",
            Fatal.PERMISSION,
        )


def _make_run(run: Path) -> bool:
    """True if it was missing."""
    try:
        run.mkdir(mode=0o755)
    except FileExistsError:
        return False
    except OSError as error:
        raise Fatal(
            f"cannot make WATTLINE_RUN {run}: {error.strerror}; its parent must exist and be writable",
            Fatal.SETTINGS,
        ) from None
    return True


class Lock:
    """An exclusive flock on a file of our own. The kernel releases it however the holder ends.

    No other user can open the file, or a reader could keep its owner from starting.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, made if it is missing. Raises Fatal(PERMISSION) for what is not ours alone."""
        self._descriptor = self._open(path)
        self.held = False

    def _open(self, path: Path) -> int:
        try:
            with directory(path.parent) as parent:
                owner = os.fstat(parent).st_uid
                is_foreign = os.geteuid() == 0 and owner != 0
                if not is_foreign:
                    descriptor = open_plain(path.name, parent, os.O_RDWR | os.O_CREAT, LOCK_MODE)
        except OSError as error:
            if is_full(error):
                raise no_room(path, 0) from None
            raise Fatal(
                f"{path}: {error.strerror or error}; expected a plain file of uid {os.geteuid()}: remove "
                "what is there",
                Fatal.PERMISSION,
            ) from None
        if is_foreign:
            raise Fatal(
                f"{path.parent} belongs to uid {owner}, expected root: root makes no file there",
                Fatal.PERMISSION,
            )
        info = os.fstat(descriptor)
        if info.st_uid == os.geteuid():
            if stat.S_IMODE(info.st_mode) != LOCK_MODE:  # an earlier version's
                os.fchmod(descriptor, LOCK_MODE)
            return descriptor
        os.close(descriptor)
        raise Fatal(
            f"{path} belongs to uid {info.st_uid}, expected {os.geteuid()}: remove it", Fatal.PERMISSION
        )

    def acquire(self) -> bool:
        """Try once; False if another process holds it."""
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


class DirectoryLock(Lock):
    """The same on a directory that is there."""

    def _open(self, path: Path) -> int:
        return open_directory(path)


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
