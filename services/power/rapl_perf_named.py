# SPDX-License-Identifier: Apache-2.0
"""Sources that the settings ask for by name. Pure."""

from .settings import PowerSettings


def is_named(settings: PowerSettings, source: str) -> bool:
    """Return True if `power.sources` has the source's own name in it.

    The setting is a text of names with commas, or a sequence of names.
    """
    given = getattr(settings, "power_sources", "")
    names = given.split(",") if isinstance(given, str) else given
    return source in {str(name).strip() for name in names}
