# SPDX-License-Identifier: Apache-2.0
"""Patterns of cgroup paths, as the table in places.py and the setting container-patterns write them. Pure.

A pattern is one or more path components, `batch/*/job-{number}`. The last component is the cgroup of the
container itself and holds its id. A leading "/" means that the first component is right below the root.

| placeholder | stands for |
|---|---|
| `{hex64}`, `{hex32}` | so many hexadecimal digits |
| `{uuid}` | a UUID with its dashes |
| `{id25}` | 25 lowercase letters and digits (BuildKit) |
| `{number}` | up to 20 digits |
| `{name}` | one or more characters |
| `{pod}`, `{digits}`, `{dash}` | a pod's directory; digits; "-" or its escape: these are no part of the id |
| `*` | any characters, none included; no part of the id |

A component has at most one of `*` and `{name}`, the only ones without a fixed or bounded length: so one
comparison takes time proportional to the component's length, whatever stands in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_IN_ID = {
    "hex64": "[0-9a-f]{64}",
    "hex32": "[0-9a-f]{32}",
    "uuid": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "id25": "[0-9a-z]{25}",
    "number": "[0-9]{1,20}",
    "name": ".+",
}
_BESIDE_ID = {
    "pod": "pod[0-9a-f][0-9a-f-]{31,35}",
    "digits": "[0-9]{1,20}",
    "dash": r"(?:-|\\x2d)",  # systemd escapes a dash in a name; systemd.unit(5)
    "*": ".*",
}
_UNIQUE = frozenset({"hex64", "hex32", "uuid", "id25"})
_UNBOUNDED = frozenset({"name", "*"})
_UNIT_SUFFIXES = (".scope", ".service")
_PIECE = re.compile(r"\{[^{}]*\}|\*|[^{}*]+|[{}]")
# Bytes that can't stand in a unit's name. Several in a row may be one character of UTF-8.
_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")

COMPONENTS_MAX = 8  # of one pattern
CHARACTERS_MAX = 200  # likewise
_LITERAL_MIN = 2  # characters of its own that a pattern without a unique id needs, or it matches anything


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. `is_unique`: ids that it finds can't be another runtime's by chance.

    `has_hex`: the id is one of an OCI runtime (64 hexadecimal digits). `expression`: `component` without
    groups; `any_name`: it matches any component.
    """

    parents: tuple[re.Pattern[str], ...]
    component: re.Pattern[str]
    expression: str
    any_name: bool
    is_from_root: bool
    is_unique: bool
    has_hex: bool
    is_escaped: bool

    def find(self, parts: Sequence[str], depth: int) -> tuple[str, str] | None:
        """Return (id, name) if `parts[depth]` and those above it match; the name may be empty.

        `parts`: a path's components, the first one the empty one before the leading "/".
        """
        count = len(self.parents)
        if depth < count or (self.is_from_root and depth != count + 1):
            return None
        found = self.component.fullmatch(parts[depth])
        if found is None:
            return None
        above = parts[depth - count : depth]
        if not all(parent.fullmatch(part) for parent, part in zip(self.parents, above, strict=True)):
            return None
        name = found["name"] if "name" in self.component.groupindex else ""
        if not self.is_unique:
            name = name or found["id"]
        return (unescaped(found["id"]), unescaped(name)) if self.is_escaped else (found["id"], name)


def parse(text: str) -> Pattern:
    """The pattern that a text stands for. Raises ValueError saying what is wrong and what to write."""
    if not text or len(text) > CHARACTERS_MAX:
        raise ValueError(f"expected 1 to {CHARACTERS_MAX} characters, got {len(text)}")
    components = text.removeprefix("/").split("/")
    if len(components) > COMPONENTS_MAX:
        raise ValueError(f"expected at most {COMPONENTS_MAX} components, got {len(components)}")
    if "" in components:
        raise ValueError("there is an empty component in it; write one slash between two components")
    pieces = [_pieces(component) for component in components]
    for above in pieces[:-1]:
        if placeholder := next((piece for piece in above if _placeholder(piece) in _IN_ID), ""):
            raise ValueError(
                f"{placeholder} must be in the last component, the container's own; write * above it"
            )
    in_id = [_placeholder(piece) for piece in pieces[-1] if _placeholder(piece) in _IN_ID]
    if not in_id:
        known = ", ".join(f"{{{name}}}" for name in _IN_ID)
        raise ValueError(f"its last component has no id; write one of {known} there")
    is_unique = not _UNIQUE.isdisjoint(in_id)
    literal = sum(len(piece) for component in pieces for piece in component if not _placeholder(piece))
    if not is_unique and literal < _LITERAL_MIN:
        raise ValueError(
            f"it matches nearly every cgroup; write at least {_LITERAL_MIN} characters of the path in it"
        )
    return Pattern(
        tuple(re.compile(_parent_expression(component), re.DOTALL) for component in pieces[:-1]),
        re.compile(_own_expression(pieces[-1]), re.DOTALL),
        "".join(map(_expression, pieces[-1])).replace("(?P<name>", "(?:"),
        any_name=pieces[-1] == ["{name}"],
        is_from_root=text.startswith("/"),
        is_unique=is_unique,
        has_hex="hex64" in in_id,
        is_escaped=components[-1].endswith(_UNIT_SUFFIXES),
    )


def unescaped(name: str) -> str:
    """A name without systemd's escapes; systemd-escape(1)."""
    return _ESCAPED.sub(_characters, name)


def _characters(escaped: re.Match[str]) -> str:
    return bytes.fromhex(escaped[0].replace("\\x", "")).decode("utf-8", "backslashreplace")


def _placeholder(piece: str) -> str:
    """The name of a placeholder, `*` for itself; empty for literal text."""
    return piece if piece == "*" else piece[1:-1] if piece.startswith("{") else ""


def _pieces(component: str) -> list[str]:
    """Literal text and placeholders in their order. Raises ValueError for unknown ones, or too many."""
    pieces: list[str] = _PIECE.findall(component)
    if "{" in pieces or "}" in pieces:
        raise ValueError(f"{component!r:.80}: expected a closing bracket for each opening one")
    names = [_placeholder(piece) for piece in pieces if piece == "*" or piece.startswith("{")]
    for name in names:
        if name not in _IN_ID and name not in _BESIDE_ID:
            known = ", ".join(f"{{{name}}}" for name in _IN_ID)
            raise ValueError(f"{{{name}}} is no placeholder; expected one of {known} or *")
    if sum(name in _UNBOUNDED for name in names) > 1:
        raise ValueError(f"{component!r:.80}: expected at most one of * and {{name}} in a component")
    return pieces


def _expression(piece: str) -> str:
    name = _placeholder(piece)
    if not name:
        return re.escape(piece)
    return f"(?P<name>{_IN_ID[name]})" if name == "name" else (_IN_ID | _BESIDE_ID)[name]


def _parent_expression(pieces: Sequence[str]) -> str:
    return "".join(map(_expression, pieces))


def _own_expression(pieces: Sequence[str]) -> str:
    """The id reaches from the first placeholder that belongs to it to the last one."""
    places = [place for place, piece in enumerate(pieces) if _placeholder(piece) in _IN_ID]
    first, last = places[0], places[-1]
    parts = [*map(_expression, pieces)]
    return "".join([*parts[:first], "(?P<id>", *parts[first : last + 1], ")", *parts[last + 1 :]])
