# SPDX-License-Identifier: Apache-2.0
"""Typed reading of JSON objects that others have made, with errors that say where, expected and got. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_MAX = 253  # the longest name in Kubernetes: a DNS subdomain of RFC 1123
_PARTS_MAX = 10_000  # of one list
_KINDS = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}


@dataclass(frozen=True)
class Part:
    """An object, and where it stands. What is absent or null is empty; whatever else doesn't fit is refused.

    Each method raises ValueError, in whose text nothing of the object is repeated.
    """

    found: Mapping[str, Any]
    where: str = ""

    def text(self, key: str, longest: int = TEXT_MAX) -> str:
        """A text of at most `longest` characters."""
        value = self.found.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, "text", value)
        if len(value) > longest:
            raise ValueError(f"{self._at(key)}: expected at most {longest} characters, got {len(value)}")
        return value

    def required(self, key: str) -> str:
        """A text that must be there."""
        found = self.text(key)
        if not found:
            raise ValueError(f"{self._at(key)}: expected text, got none")
        return found

    def part(self, key: str) -> "Part":
        """An object within."""
        value = self.found.get(key)
        if value is None:
            return Part({}, self._at(key))
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object", value)
        return Part(value, self._at(key))

    def parts(self, key: str) -> list["Part"]:
        """A list of objects."""
        value = self.found.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        if len(value) > _PARTS_MAX:
            raise ValueError(f"{self._at(key)}: expected at most {_PARTS_MAX} of them, got {len(value)}")
        found = []
        for number, one in enumerate(value):
            place = f"{key}[{number}]"
            if not isinstance(one, Mapping):
                raise self.wrong(place, "an object", one)
            found.append(Part(one, self._at(place)))
        return found

    def wrong(self, key: str, expected: str, value: object) -> ValueError:
        """The error for a value of another kind."""
        return ValueError(f"{self._at(key)}: expected {expected}, got {kind(value)}")

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def kind(value: object) -> str:
    """What sort of JSON value it is, in words."""
    if isinstance(value, Mapping):
        return "an object"
    return "nothing" if value is None else _KINDS.get(type(value), type(value).__name__)
