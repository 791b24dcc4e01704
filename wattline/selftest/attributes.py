# SPDX-License-Identifier: Apache-2.0
"""A FUSE file system of attributes, as sysfs has them: small files whose text is made when they are read."""

import contextlib
import errno
import signal
import stat
from collections.abc import Mapping
from pathlib import Path

import fuse

from .cpu_files import Maker
from .dying import die_with_parent

_ATTRIBUTE_BYTES = 4096  # what sysfs says of every attribute
CONTROL, LOG = "/control", "/log"


class Attributes(fuse.Operations):  # type: ignore[misc]
    """The files, and `control`, which takes commands.

    As in kernfs, a read of offset 0 makes an attribute anew, and later offsets continue it.
    """

    use_ns = True

    def __init__(self, files: Mapping[str, Maker], links: Mapping[str, str] | None = None) -> None:
        """`files`: what makes each file's text, by path. `links`: where symlinks lead, by path."""
        self._files: dict[str, Maker] = {CONTROL: str, **files}
        self._links = dict(links or {})
        self._directories = {str(parent) for path in self._files for parent in Path(path).parents}
        self._made: dict[int, bytes] = {}  # by open file
        self._next = 1

    def is_hidden(self, path: str) -> bool:  # noqa: ARG002
        """True for what is not there at present."""
        return False

    def check(self, path: str) -> None:
        """Raise FuseOSError if a file can't be opened or read at present."""

    def command(self, words: list[str]) -> bool:  # noqa: ARG002
        """Obey what was written to `control`; False if it is no command."""
        return False

    def init(self, path: str) -> None:  # noqa: ARG002
        """Tell the process that started this one."""
        print("ready", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002
        """What stat(2) says."""
        if self.is_hidden(path):
            raise fuse.FuseOSError(errno.ENOENT)
        if path in self._directories:
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path in self._links:
            return {"st_mode": stat.S_IFLNK | 0o777, "st_nlink": 1, "st_size": len(self._links[path])}
        if path not in self._files:
            raise fuse.FuseOSError(errno.ENOENT)
        mode = 0o644 if path == CONTROL else 0o444
        return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": _ATTRIBUTE_BYTES}

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002
        """Names in a directory."""
        every = [*self._directories, *self._links, *self._files]
        paths = [one for one in every if not self.is_hidden(one)]
        return [".", "..", *(Path(one).name for one in paths if one != "/" and str(Path(one).parent) == path)]

    def readlink(self, path: str) -> str:
        """Where a symlink leads."""
        return self._links[path]

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002
        """A number for an open file."""
        self.check(path)
        self._next += 1
        return self._next

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        """Forget what an open file was given."""
        self._made.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Part of an attribute."""
        if offset == 0:
            self.check(path)
            self._made[fh] = self._files[path]().encode()
        return self._made.get(fh, b"")[offset : offset + size]

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:  # noqa: ARG002
        """Do nothing: what opens `control` to write asks for it."""
        return 0

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002
        """Take a command."""
        if path != CONTROL:
            raise fuse.FuseOSError(errno.EACCES)
        if not self.command(data.decode().split()):
            raise fuse.FuseOSError(errno.EINVAL)
        return len(data)


def line(value: object) -> str:
    """The text of an attribute."""
    return f"{value}\n"


def serve(tree: Attributes, mountpoint: Path, name: str) -> None:
    """Serve until told to end. `name`: of the file system in the list of mounts."""
    die_with_parent(signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):
        fuse.FUSE(
            tree,
            str(mountpoint.resolve()),
            foreground=True,
            nothreads=True,
            direct_io=True,
            allow_other=True,
            auto_unmount=True,
            attr_timeout=0,
            entry_timeout=0,
            fsname=name,
        )
