# SPDX-License-Identifier: Apache-2.0
"""The root of an image: Python, what pip installed, the libraries these need, and nothing else.

    python3 image_root.py ROOT [--beyond OTHER_ROOT] [--library NAME...] [--without DIRECTORY...]

Run by the Dockerfile in a Debian stage. NAME: shared objects that are loaded by name, as ctypes does. What
another root has already is left out: an image of both layers has it once. DIRECTORY: the end of the path of
what is left out, such as part of a package.
"""

import argparse
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Merged-usr, as Debian has it: the dynamic loader is asked for by its path in /lib64 (or /lib).
_LINKS = ("lib", "lib64")
_UNUSED = shutil.ignore_patterns(
    *("test", "tests", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data", "config-3*"),
    *("pip", "pip-*", "setuptools", "setuptools-*", "wheel", "wheel-*", "pkg_resources", "*.a"),
)
_ELF = b"\x7fELF"


def python_files() -> list[Path]:
    """The interpreter, its library, installed packages and their commands."""
    python = Path("/usr/bin/python3").resolve()
    found = [python, Path("/usr/bin/python3"), Path(sysconfig.get_path("stdlib"))]
    found += [Path("/usr/local/bin/wattline"), Path("/usr/local/lib") / python.name]
    bcc = Path("/usr/lib/python3/dist-packages/bcc")
    return [*found, *([bcc] if bcc.exists() else [])]


def copy(source: Path, root: Path, beyond: Path | None, without: Sequence[str] = ()) -> None:
    """To the same place below another root; links as they are."""
    target = root / source.relative_to("/")
    if source.is_dir():
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore=_Ignore(beyond, without),
            dirs_exist_ok=True,
            copy_function=_copy_new,
        )
    elif beyond is None or not (beyond / source.relative_to("/")).exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_new(source, target, follow_symlinks=False)


def _copy_new(source: str | Path, target: str | Path, *, follow_symlinks: bool = True) -> None:
    shutil.copy2(source, target, follow_symlinks=follow_symlinks)


class _Ignore:
    """What is of no use in an image, or in the other root already."""

    def __init__(self, beyond: Path | None, without: Sequence[str] = ()) -> None:
        self._beyond = beyond
        self._without = tuple(f"/{one}" for one in without)

    def __call__(self, directory: str, names: list[str]) -> set[str]:
        there = Path("/") / directory
        ignored = set(_UNUSED(directory, names))
        ignored |= {name for name in names if str(there / name).endswith(self._without)}
        if self._beyond is not None:
            other = self._beyond / there.relative_to("/")
            ignored |= {name for name in names if (other / name).is_file()}
        return ignored


def libraries(files: Iterable[Path]) -> Iterator[Path]:
    """The shared libraries of all these, and theirs, by the paths at which the loader looks for them."""
    for file in files:
        with file.open("rb") as opened:
            if opened.read(len(_ELF)) != _ELF:
                continue
        listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607 Debian's own
        for name in re.findall(r"(/\S+) \(0x", listed):
            yield _merged(Path(name))


def _merged(path: Path) -> Path:
    """/lib/… is /usr/lib/…."""
    return Path("/usr", *path.parts[1:]) if path.parts[1] in _LINKS else path


def packages(files: Iterable[Path]) -> dict[str, str]:
    """Debian package → its record, of those that have any of the files: for whoever looks for known holes."""
    owners: set[str] = set()
    for path in files:
        spellings = {str(path), str(path).removeprefix("/usr"), str(path.resolve())}
        command = ["dpkg-query", "--search", *spellings]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
        owners |= {
            line.partition(": ")[0] for line in listed.splitlines() if not line.startswith("diversion")
        }
    return {
        owner.partition(":")[0]: subprocess.run(  # noqa: S603
            ["dpkg-query", "--status", owner],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for owner in sorted(owners)
    }


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--beyond", type=Path)
    parser.add_argument("--library", nargs="+", default=[])
    parser.add_argument("--without", nargs="+", default=[])
    given = parser.parse_args()
    root: Path = given.root
    root.mkdir(parents=True, exist_ok=True)
    for path in python_files():
        copy(path, root, given.beyond, given.without)
    directory = Path("/usr/lib") / sysconfig.get_config_var("MULTIARCH")
    roots = [directory / name for name in given.library]
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    needed = {*roots, *libraries([*found, *roots])}
    for path in needed:
        target = root / path.relative_to("/")
        if given.beyond is None or not (given.beyond / path.relative_to("/")).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    for name in _LINKS:
        if given.beyond is None and Path("/", name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    records = root / "var/lib/dpkg/status.d"
    records.mkdir(parents=True)
    for package, record in packages([Path("/usr/bin/python3").resolve(), *needed]).items():
        (records / package).write_text(record, encoding="utf-8")
        notice = Path("usr/share/doc", package, "copyright")
        if Path("/", notice).exists():
            (root / notice).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path("/", notice), root / notice)


if __name__ == "__main__":
    main()
