# SPDX-License-Identifier: Apache-2.0
"""Which unit a cgroup that is no container's belongs to, as its path alone shows. Pure.

A unit is a systemd service or scope (a snap's and a flatpak's among them), a service of a user's systemd, or
a service of OpenRC. Names that are new at each start have their changing part left out, so that there are
never more series than kinds of units: `run-u123.service` is `run-.service`.
"""

import re

# Units that have processes; systemd.unit(5). What is in a slice itself is in no unit.
_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")
_SLICE = ".slice"
_CHARACTERS_MAX = 255  # of a unit's name, as of any directory's; systemd.unit(5)
_USER_MANAGER = re.compile(r"user@[0-9]{1,10}\.service")
# OpenRC's cgroups are openrc.SERVICE, or openrc/SERVICE on cgroup v1; LXC's monitors stand beside the
# payload.
_OPENRC, _OPENRC_PARENT = "openrc.", "openrc"
_LXC_MONITOR = "lxc.monitor"

# "-" or ".", or systemd's escape of the first.
_DASH = r"(?:[-.]|\\x2d)"
# What no two starts have in common, with the separators around it.
_CHANGING = re.compile(
    rf"""{_DASH}?(?:
        [0-9a-f]{{8}}(?:(?:-|\\x2d)[0-9a-f]{{4}}){{3}}(?:-|\\x2d)[0-9a-f]{{12}}  # a UUID
        | r?[0-9a-f]{{16,}}                                                  # an id, or systemd-run's
        | :[0-9]+[.][0-9]+                                                   # a connection of D-Bus
    )(?![0-9a-z])(?:-|\\x2d)?""",
    re.VERBOSE,
)
# systemd-run's own names: run-u12, run-p12-i34, run-12.
_RUN = re.compile(rf"run(?:{_DASH}[a-z]?[0-9]+)+")
# Of a scope, which a program makes for its own child: a pid or a count, or several, at the end.
_COUNT = re.compile(rf"(?:{_DASH}c?[0-9]+)+|(?<=[a-z])[0-9]{{4,}}")
# A pid within a scope's name, as in libcontainer-1234-systemd-test-x.
_INNER_COUNT = re.compile(r"(?:-|\\x2d)[0-9]+(?=-|\\x2d)")
# A connection to a socket with Accept=yes: COUNT-PID-UID, or COUNT-ADDRESS:PORT-ADDRESS:PORT;
# systemd.socket(5).
_CONNECTION = re.compile(r"[0-9]+-(?:[0-9]+-[0-9]+|[^@]*:[0-9]+-[^@]*:[0-9]+)")
_DBUS = ("dbus-:", r"dbus\x2d:", r"app-dbus\x2d:")


def unit_of(path: str) -> str:
    """The unit; empty if the path shows none.

    As systemd has it, the first component that is no slice; below a user's systemd the first one of its own.
    """
    parts = [part for part in path.split("/") if part and not part.endswith(_SLICE)]
    if not parts:
        return ""
    if _USER_MANAGER.fullmatch(parts[0]) and len(parts) > 1 and _is_unit(parts[1]):
        return kind_of(parts[1])
    if _is_unit(parts[0]):
        return kind_of(parts[0])
    if parts[0].startswith(_OPENRC) and parts[0] != _OPENRC:
        return parts[0]
    if parts[0] == _OPENRC_PARENT and len(parts) > 1:
        return f"{_OPENRC}{parts[1]}"
    return _LXC_MONITOR if parts[0].startswith(_LXC_MONITOR) else ""


def is_only_slices(path: str) -> bool:
    """True for the root and slices of systemd: they hold units and have no work of their own."""
    return all(part.endswith(_SLICE) for part in path.split("/") if part)


def kind_of(unit: str) -> str:
    """A unit's name without what is new at each start; most names have no such part."""
    stem, _, suffix = unit.rpartition(".")
    if not any(character.isdigit() for character in stem):
        return unit
    name, at, instance = stem.partition("@")
    if name.startswith(_DBUS) or _CONNECTION.fullmatch(instance):
        instance = ""
    name, instance = _without_changing(name), _without_changing(instance)
    if run := _RUN.match(name):
        name = f"run-{name[run.end() :].lstrip('-')}"
    if suffix == "scope":
        name = _without_count(_INNER_COUNT.sub("", name))
    return f"{name}{at}{instance.removeprefix('-')}.{suffix}"


def _is_unit(part: str) -> bool:
    return part.endswith(_SUFFIXES) and not part.startswith(".") and len(part) <= _CHARACTERS_MAX


def _without_changing(text: str) -> str:
    """A text with "-" for each changing part and the separators around it."""
    return _CHANGING.sub("-", text) if any(character.isdigit() for character in text) else text


def _without_count(name: str) -> str:
    end = len(name)
    for found in _COUNT.finditer(name):
        if found.end() == end:
            return f"{name[: found.start()]}-"
    return name
