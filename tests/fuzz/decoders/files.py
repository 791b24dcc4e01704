# SPDX-License-Identifier: Apache-2.0
"""Trees of small files as inputs: damaged, made, and removed again."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.fuzz.mutate import mutated


def damaged(chance: Random, tree: Mapping[str, bytes], words: Sequence[bytes]) -> dict[str, bytes]:
    """The same tree with some of its files changed, missing, moved, or with another's content."""
    changed = dict(tree)
    for path in chance.sample(sorted(tree), chance.randint(1, min(4, len(tree)))):
        match chance.randrange(6):
            case 0:
                del changed[path]
            case 1:
                changed[path] = tree[chance.choice(sorted(tree))]
            case 2:
                changed[_renamed(chance, path)] = changed.pop(path)
            case _:
                changed[path] = mutated(chance, [tree[path]], words)
    return changed


def _renamed(chance: Random, path: str) -> str:
    """The path with one of its parts changed; a part has 255 bytes at most, and no slash or NUL."""
    parts = path.split("/")
    at = chance.randrange(len(parts))
    name = mutated(chance, [os.fsencode(parts[at])]).replace(b"/", b"").replace(b"\0", b"")[:255]
    parts[at] = os.fsdecode(name) if name not in (b"", b".", b"..") else "x"
    return "/".join(parts)


@contextmanager
def made(root: Path, tree: Mapping[str, bytes]) -> Iterator[Path]:
    """The tree as files below a directory that is there meanwhile."""
    root.mkdir()
    try:
        write(root, tree)
        yield root
    finally:
        shutil.rmtree(root)


def write(root: Path, tree: Mapping[str, bytes]) -> None:
    """Make or overwrite the files; where one is in the place of another's directory, it is left out."""
    for path, content in tree.items():
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
