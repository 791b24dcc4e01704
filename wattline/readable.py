# SPDX-License-Identifier: Apache-2.0
"""Check that the code of a process can be read by the user that it runs as.

Python imports many modules only when they are first used (numpy.ma in numpy.unique, say). A service that has
given up root must still be able to read all of them, or it fails later, at every turn.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import Fatal

# Made and read by the interpreter for itself, which does without.
_NOT_CODE = "__pycache__"


def imported_from() -> list[str]:
    """Every place from which this process may import anything more. To be called before root is given up.

    These are the directories on sys.path, the standard library, and all files of the loaded packages.
    """
    library = standard_library()
    places = [entry for entry in [*sys.path, *library] if entry and os.path.exists(entry)]  # noqa: PTH110 many
    for name, module in sorted(sys.modules.items()):
        if "." not in name:
            for root in getattr(module, "__path__", ()):
                if str(Path(root).parent) not in library:
                    places += tree(root)
    return list(dict.fromkeys(places))


def standard_library() -> list[str]:
    """Its directories: that of the Python modules, and that of the compiled ones where it lies elsewhere."""
    library = str(Path(os.__file__).parent)
    compiled = [entry for entry in sys.path if Path(entry).name == "lib-dynload"]
    return [library, *(entry for entry in compiled if not Path(entry).is_relative_to(library))]


def tree(root: str) -> Iterator[str]:
    """A directory and the code that is in it: hidden files are editors' and settings'."""
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name != _NOT_CODE and not name.startswith(".")]
        yield directory
        yield from (f"{directory}/{name}" for name in files if not name.startswith("."))


def obstacle(places: Iterable[str]) -> str:
    """The first of these that this process can't read, and why; empty if it can read all.

    Goes by the real user and group and the permitted capabilities (access(2)).
    """
    blocked = next((place for place in places if not _is_readable(place)), "")
    if not blocked:
        return ""
    path = Path(blocked)
    for parent in reversed(path.parents):
        if not os.access(parent, os.X_OK):
            return f"{blocked}: {_described(parent)}, and has to be entered on the way"
    return f"{blocked}: {_described(path)}"


def require(places: Iterable[str]) -> None:
    """Raise Fatal(PERMISSION) with the path and the cure unless this process can read all of these."""
    blocked = obstacle(places)
    if blocked:
        raise Fatal(
            f"uid {os.getuid()} can't read the code it runs: {blocked}. Start it by `wattline up` as root, "
            "which runs the services from a copy that they can read, or install Wattline where all can read "
            "(docs/install.md), as a power stream beside `power` needs it",
            Fatal.PERMISSION,
        )


def _is_readable(place: str) -> bool:
    if os.access(place, os.R_OK | os.X_OK):
        return True
    if os.access(place, os.R_OK):
        return not os.path.isdir(place)  # noqa: PTH112 thousands of them
    return os.path.islink(place) and not os.path.lexists(os.path.realpath(place))  # noqa: PTH114 leads nowhere


def _described(path: Path) -> str:
    try:
        info = path.stat()
    except OSError as error:
        return f"{path} can't be looked at ({error.strerror})"
    return f"{path} has mode {stat.S_IMODE(info.st_mode):04o} and belongs to uid {info.st_uid}"
