# SPDX-License-Identifier: Apache-2.0
"""The sources in use, and their ranks, by the setting power.sources. Pure."""

from typing import NamedTuple

from wattline.setting import nearest

from . import sources
from .sources import Entry, Way

_SIGNS = "+-"


class Choice(NamedTuple):
    """A source in use. `is_named`: the setting asks for it by name, so it is shown whatever it finds.

    `rank`: its place in the order of preference, comparable with that of another power process.
    """

    entry: Entry
    rank: int
    is_named: bool


def choose(text: str) -> list[Choice]:
    """The sources in use, the preferred one first.

    Their ranks are their places in the table, dealt out anew in the order of the setting: two processes with
    different sources can be compared, and a setting that reorders changes the ranks.
    Raises ValueError saying what is wrong with the text.
    """
    table = sources.SOURCES
    known = {entry.name: entry for entry in table}
    signs, names = _items(text, known)
    if any(signs) and not all(signs):
        raise ValueError("either plain names or names with + or - may stand there, not both")
    if signs and not any(signs):
        order = [known[name] for name in names]
    else:
        signed = list(zip(signs, names, strict=True))
        front = [known[name] for sign, name in signed if sign == "+"]
        order = front + [entry for entry in table if entry.by_default and entry.name not in names]
    if not order:
        raise ValueError("no source is left")
    if any(entry.way is Way.ESTIMATE for entry in order[:-1]):
        raise ValueError("an estimate is used only while no meter has anything new, so it must stand last")
    ranks = sorted(place for place, entry in enumerate(table) if entry in order)
    asked_for = {name for sign, name in zip(signs, names, strict=True) if sign != "-"}
    return [Choice(entry, rank, entry.name in asked_for) for entry, rank in zip(order, ranks, strict=True)]


def _items(text: str, known: dict[str, Entry]) -> tuple[list[str], list[str]]:
    """(the signs, the names) of the setting's items."""
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    signs = [item[:1] if item[:1] in _SIGNS else "" for item in items]
    names = [item.lstrip(_SIGNS) if sign else item for sign, item in zip(signs, items, strict=True)]
    for item, name in zip(items, names, strict=True):
        if not name:
            raise ValueError("there is an item without a name")
        if name not in known:
            raise ValueError(f"there is no source {name!r:.40}{nearest(name, known) or _all(known)}")
        if names.count(name) > 1:
            raise ValueError(f"{name} stands there more than once")
        if item not in (name, f"+{name}", f"-{name}"):
            raise ValueError(f"{item!r:.40} has more than one sign")
    return signs, names


def _all(known: dict[str, Entry]) -> str:
    return f"; there are {', '.join(known)}"


def is_named(text: str, name: str) -> bool:
    """True if the setting asks for a source by its name."""
    return any(choice.entry.name == name and choice.is_named for choice in choose(text))


def check(text: str) -> None:
    """Raises ValueError for a text that chooses nothing."""
    choose(text)
