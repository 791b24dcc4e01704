# SPDX-License-Identifier: Apache-2.0
"""Names come from strangers: a process may call itself anything. Here they become harmless text."""

from collections.abc import Iterable
from functools import lru_cache

NAME_CHARACTERS_MAX = 4096  # PATH_MAX, the longest honest name we carry (a cgroup path)


# Commands and ids come again and again; paths may be long, and thousands of them would stay in memory.
_REMEMBERED_CHARACTERS_MAX = 128


def safe_name(raw: bytes | str) -> str:
    r"""Valid, printable text for a name; what isn't printable appears as an escape such as \x1b.

    Bytes end at their first NUL, as the kernel's do. Printable is meant as str.isprintable has it: no
    control character, line separator or direction mark survives, so no name can break a terminal, a page
    or a line-based format. (Quotes and backslashes are printable: each format escapes its own.)
    """
    return _remembered(raw) if len(raw) <= _REMEMBERED_CHARACTERS_MAX else _made_safe(raw)


@lru_cache(maxsize=16384)
def _remembered(raw: bytes | str) -> str:
    return _made_safe(raw)


def _made_safe(raw: bytes | str) -> str:
    text = raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    if not text.isprintable():
        text = "".join(character if character.isprintable() else _escape(character) for character in text)
    return text[:NAME_CHARACTERS_MAX]


def are_safe(names: list[str]) -> bool:
    """Whether `safe_name` would return each as it is. Loops in C, for columns of ten thousand."""
    return all(map(str.isprintable, names)) and max(map(len, names), default=0) <= NAME_CHARACTERS_MAX


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 the widths of Python's own escapes
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def safe_names(raw: Iterable[bytes | str]) -> list[str]:
    """A column of names made safe, in the same order."""
    return [safe_name(name) for name in raw]
