# SPDX-License-Identifier: Apache-2.0
"""The parts of Wattline's code on this machine: its packages, what they need, and the interpreter."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from wattline.errors import Fatal
from wattline.isolated import HERE
from wattline.readable import standard_library, tree

_NAME = re.compile(r"[A-Za-z0-9._-]+")
# What services import if it is installed: Wattline's extras have it.
_OPTIONAL = ("kubernetes", "redfish", "urllib3")


@dataclass(frozen=True)
class Part:
    """A file or directory of the code, and its place (relative) in a copy of it."""

    source: Path
    place: str

    @property
    def is_own(self) -> bool:
        """True for Wattline's own code."""
        return self.place in ("wattline", "services")


def packages() -> list[Part]:
    """Wattline's own packages and the distributions that they import, as they are installed."""
    own = HERE.start.parent
    parts = [Part(own, "wattline")]
    if not (own / "services").is_dir():  # a checkout; the wheel has them inside
        parts.append(Part(own.parent / "services", "services"))
    required = set().union(*map(_required, ("wattline", *_OPTIONAL)))
    for name in sorted(required - {"wattline"}):
        parts += _parts_of(metadata.distribution(name))
    return parts


def interpreter() -> list[Part]:
    """The interpreter and its standard library, for where these can't be read by all."""
    base = Path(sys.base_prefix)
    python = Path(sys.executable).resolve()
    parts = [Part(python, f"python/bin/{python.name}")]
    parts += [Part(Path(library), _below(base, Path(library))) for library in standard_library()]
    # A shared libpython lies beside the standard library.
    parts += [
        Part(path, f"python/lib/{path.name}") for path in sorted((base / "lib").glob("libpython3.*.so*"))
    ]
    return parts


def fingerprint(parts: list[Part]) -> str:
    """A checksum that changes when any of it does: names, sizes and times of all files."""
    digest = hashlib.sha256(sys.version.encode())
    for part in parts:
        for path in tree(str(part.source)) if part.source.is_dir() else [str(part.source)]:
            # A directory's time changes with its __pycache__; a link to nothing is an editor's mark.
            if os.path.isfile(path):  # noqa: PTH113 thousands of them
                info = os.stat(path)  # noqa: PTH116
                digest.update(
                    f"{path}\0{info.st_size}\0{info.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
                )
    return digest.hexdigest()[:16]


def _below(base: Path, path: Path) -> str:
    try:
        return f"python/{path.relative_to(base)}"
    except ValueError:
        raise Fatal(f"the standard library {path} is not below {base}, where the interpreter is") from None


def _required(name: str) -> set[str]:
    """A distribution and all that it requires, extras apart."""
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()  # for another Python or system than this one
    found = {name}
    for requirement in requirements:
        matched = _NAME.match(requirement)
        if matched is not None and "extra ==" not in requirement:
            found |= _required(matched[0])
    return found


def _parts_of(distribution: metadata.Distribution) -> Iterator[Part]:
    tops = {file.parts[0] for file in distribution.files or ()}
    for top in sorted(tops - {"..", "__pycache__"}):
        if not top.endswith(".dist-info"):
            yield Part(Path(str(distribution.locate_file(top))), top)
