# SPDX-License-Identifier: Apache-2.0
"""Apple silicon: the platform's power, by the system management controller's hwmon chip."""

from . import chip_rules
from .hwmon import open_rules
from .settings import PowerSettings
from .source import Former, Source

SOURCE = chip_rules.MACSMC


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The platform zone of a Mac. Its files are readable by anybody."""
    return open_rules(SOURCE, settings, former, now_ns)
