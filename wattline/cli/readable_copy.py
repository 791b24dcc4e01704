# SPDX-License-Identifier: Apache-2.0
"""A copy of the code that every user can read, for services that are not root.

`git clone` in /root, a home directory of mode 0700, umask 077, an environment that pipx or uv made for root:
wherever the services' users can't read the code, `wattline up` runs the services from such a copy. It lies in
/var/cache, is made anew when any file has changed, and may be removed at any time while nothing runs from it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from wattline.errors import Fatal
from wattline.isolated import HERE, Code
from wattline.opened import OTHERS_WRITE, directory, replaceable_by_others
from wattline.readable import obstacle, standard_library, tree

from .as_user import as_user
from .code_parts import Part, fingerprint, interpreter, packages

CACHE = Path("/var/cache/wattline")
_ORIGIN = "origin"  # in each copy: the path of what it is a copy of
_HELD = ".held"  # in each copy: locked by those who use it; closed to others, who could hold it for ever
_NEW = ".new-"
_held: list[int] = []  # descriptors of the copies that this process uses
# Of the standard library and of packages.
_UNUSED = shutil.ignore_patterns(
    *("test", "tests", "idlelib", "ensurepip", "lib2to3", "pydoc_data", "tkinter", "turtledemo"),
    *("site-packages", "dist-packages", "config-3*"),
)


def code_for(uid: int, gid: int, say: Callable[[str], None], cache: Path = CACHE) -> Code:
    """Code that this user can read: ours, or a copy of it. As root.

    Raises Fatal if a copy is needed and can't be made.
    """
    own = packages()
    executable = Path(sys.executable).resolve()
    # A service looks at the same places once it has changed its user (wattline.readable).
    files = [*_files(own), *(entry for entry in sys.path if Path(entry).exists())]
    programs = [str(executable), *standard_library()]
    blocked = as_user(uid, gid, lambda: obstacle(files))
    python_blocked = as_user(uid, gid, lambda: obstacle(programs))
    if not (blocked or python_blocked):
        return HERE
    python = interpreter() if python_blocked else []
    parts = own + python
    say(f"uid {uid} can't read {blocked or python_blocked}; running from a copy below {cache}")
    try:
        copy = _copy(parts, cache)
    except OSError as error:
        raise Fatal(
            f"the services' users can't read {blocked or python_blocked}, and a copy for them can't be made "
            f"in {cache}: {error}. Install Wattline where all can read it, as below /opt"
        ) from None
    executable = copy / python[0].place if python else executable
    return Code(str(executable), copy / "wattline/start.py", alone=True)


def _files(parts: list[Part]) -> Iterator[str]:
    for part in parts:
        yield from tree(str(part.source)) if part.source.is_dir() else [str(part.source)]


def _copy(parts: list[Part], cache: Path) -> Path:
    """The copy, made unless it is there. It is held (flock, shared) until this process ends."""
    with _prepared(cache):
        return _found_or_made(parts, cache)


def _found_or_made(parts: list[Part], cache: Path) -> Path:
    origin = str(HERE.start.parent)
    copy = cache / f"{_prefix()}-{fingerprint(parts)}"
    _remove_unused(cache, keep=copy)
    if not copy.is_dir():
        new = cache / f"{_NEW}{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        _make(parts, new)
        (new / _ORIGIN).write_text(origin, encoding="utf-8", errors="surrogateescape")
        (new / _ORIGIN).chmod(0o644)
        (new / _HELD).touch(mode=0o600)
        new.rename(copy)
    _held.append(os.open(copy / _HELD, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    fcntl.flock(_held[-1], fcntl.LOCK_SH)
    return copy


@contextlib.contextmanager
def _prepared(cache: Path) -> Iterator[None]:
    """The directory, made if it is missing, and held: only one process at a time adds or removes a copy."""
    if above := replaceable_by_others(cache):
        raise Fatal(
            f"{cache}: code is run from it, and users who may write to {above} could replace it; expected a "
            "place of root's, such as /var/cache",
            Fatal.PERMISSION,
        )
    cache.mkdir(parents=True, exist_ok=True)
    info = cache.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & OTHERS_WRITE:
        raise Fatal(
            f"{cache}: expected a directory that only uid {os.geteuid()} may write to, since code is run "
            f"from it; got mode {stat.S_IMODE(info.st_mode):04o} of uid {info.st_uid}: remove it",
            Fatal.PERMISSION,
        )
    with directory(cache) as held:
        os.fchmod(held, 0o711)  # others can pass through it, but not open and hold it
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _make(parts: list[Part], directory: Path) -> None:
    directory.mkdir()
    for part in parts:
        target = directory / part.place
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.source.is_dir():
            shutil.copytree(part.source, target, ignore=_left_out if part.is_own else _left_out_of_others)
        else:
            shutil.copy2(part.source, target)
    for path in directory.rglob("*"):  # __pycache__ included
        mode = path.stat().st_mode
        path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
    directory.chmod(0o755)


def _left_out_of_others(directory: str, names: list[str]) -> set[str]:
    """The names that are no code: hidden files of editors and settings, links to nothing, tests."""
    hidden = {name for name in names if name.startswith(".")}
    return hidden | _UNUSED(directory, names) | {name for name in names if not Path(directory, name).exists()}


def _left_out(directory: str, names: list[str]) -> set[str]:
    """The names to leave out of Wattline's own code: links too, since they may lead to private files."""
    links = {name for name in names if Path(directory, name).is_symlink()}
    return _left_out_of_others(directory, names) | links


def remove_copies(cache: Path = CACHE) -> list[Path]:
    """Remove the copies of this code that no process uses, and return their paths. As root."""
    if not cache.is_dir() or cache.is_symlink():
        return []
    with _prepared(cache):
        removed = _remove_unused(cache, cache / f"{_prefix()}-")
    with contextlib.suppress(OSError):  # copies of other code
        cache.rmdir()
    return removed


def _remove_unused(cache: Path, keep: Path) -> list[Path]:
    """Remove copies of an older state of this code, or of code that has gone, unless they are in use."""
    removed = []
    for path in sorted(cache.iterdir()):
        if path == keep or not path.is_dir():
            continue
        origin = path / _ORIGIN
        same = path.name.partition("-")[0] == keep.name.partition("-")[0]
        gone = origin.is_file() and not Path(origin.read_text("utf-8", "surrogateescape")).exists()
        left_half = path.name.startswith(_NEW) and not Path(f"/proc/{path.name.removeprefix(_NEW)}").exists()
        if (same or gone or left_half) and not _in_use(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _prefix() -> str:
    """The beginning of the names of this code's copies."""
    return hashlib.sha256(os.fsencode(HERE.start.parent)).hexdigest()[:8]


def _in_use(path: Path) -> bool:
    try:
        descriptor = os.open(path / _HELD, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # not yet whole
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
