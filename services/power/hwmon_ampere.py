# SPDX-License-Identifier: Apache-2.0
"""Ampere Altra: the package zone of each socket, by its xgene hwmon chip."""

from . import chip_rules
from .hwmon import open_rules
from .settings import PowerSettings
from .source import Former, Source

SOURCE = chip_rules.AMPERE


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The package of each Ampere socket. Its files are readable by anybody."""
    return open_rules(SOURCE, settings, former, now_ns)
