# SPDX-License-Identifier: Apache-2.0
"""A scrape as numbers, fast enough for a fork storm's thousands of series; values without rounding."""

import re
from decimal import Decimal
from typing import NamedTuple

_LINE = re.compile(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Series(NamedTuple):
    name: str
    labels: dict[str, str]
    value: Decimal


def read(text: bytes) -> list[Series]:
    """Every line must be one; label values stay escaped as they are."""
    series = []
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, line
            series.append(Series(match[1], dict(_LABEL.findall(match[2] or "")), Decimal(match[3])))
    return series
