# SPDX-License-Identifier: Apache-2.0
"""The two tables of docs/security.md."""

import re

from .units import ALL_IN_ONE, EACH, ROOT

PAGE = ROOT / "docs/security.md"
_WHERE = {"all": [*EACH, ALL_IN_ONE], "stages": list(EACH)}


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    text = PAGE.read_text(encoding="utf-8")
    body = text.partition(f"<!-- table: {table} -->\n")[2].partition("<!-- end of table -->")[0]
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in body.splitlines()[2:]]


def codes(cell: str) -> list[str]:
    """What is set as code in a cell."""
    return re.findall(r"`([^`]*)`", cell)


def options() -> dict[str, dict[str, list[str]]]:
    """By unit (a stage's name, or wattline.service): the options of the second table with their values."""
    found: dict[str, dict[str, list[str]]] = {}
    for option, value, where, *_why in rows("options"):
        for unit in _WHERE.get(where) or where.split(", "):
            values = [text.replace("STAGE", unit) for text in codes(value)] or [""]
            given = found.setdefault(unit, {})
            assert codes(option)[0] not in given, f"{option} of {unit} stands there twice"
            given[codes(option)[0]] = values
    return found
