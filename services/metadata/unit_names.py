# SPDX-License-Identifier: Apache-2.0
"""Limit to the number of unit names: any user may start units of any name (`systemd-run --user`). Pure.

Each name is a workload of the calculator and several series, so a user could open them without end.
"""

import re

USER_MAX = 64  # names per owner that isn't root; a desktop session has some 50
ROOT_MAX = 2000  # a large server has some 300 services
_REST = "other"  # of an owner; root's rest is what is in no unit, which is shown as this too
# No unit of root's ends like this: names of systemd's units end in ".service" and the like.
_OWNER = re.compile(r"@[0-9]+\Z")


class UnitNames:
    """The names given so far. A name once given stays for the life of this object."""

    def __init__(self) -> None:
        self._given: dict[str, set[str]] = {}  # by "@UID"; root's is empty

    def bounded(self, unit: str) -> str:
        """The unit itself, or its owner's `other@UID` if the owner has too many; root's are then empty."""
        found = _OWNER.search(unit)
        owner = found[0] if found else ""
        given = self._given.setdefault(owner, set())
        if unit in given or not unit:
            return unit
        if len(given) >= (USER_MAX if owner else ROOT_MAX):
            return f"{_REST}{owner}" if owner else ""
        given.add(unit)
        return unit
