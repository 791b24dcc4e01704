# SPDX-License-Identifier: Apache-2.0
"""Which of a BMC's chassis are this node's. Pure. The rule in words: docs/redfish.md."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from wattline.wire.names import safe_name

from .resource import Resource, link, links, text_at

# Chassis types of DMTF's Chassis schema. These hold several nodes, or none: their total is never a node's.
SHARED = frozenset(
    (
        *("Rack", "RackGroup", "Row", "Pod", "Enclosure", "Shelf", "Drawer", "Sidecar", "PowerStrip"),
        *("StorageEnclosure", "ImmersionTank", "HeatExchanger"),
    )
)
# And these are parts of a node.
PARTS = frozenset(("Card", "Cartridge", "Component", "Zone", "IPBasedDrive"))


_NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chassis of the node; `inner`: those within it, to be used if it has no meter itself."""

    path: str
    name: str
    systems: tuple[str, ...] = ()
    inner: tuple["Candidate", ...] = ()


@dataclass
class Choice:
    """The node's chassis; their energies add. `skipped`: why others are left out, one text each."""

    chosen: Sequence[Candidate] = ()
    skipped: list[str] = field(default_factory=list)
    why_none: str = ""


def choose(chassis: Mapping[str, Resource], wanted: Collection[str] = ()) -> Choice:
    """Choose among all chassis by path. `wanted`: the ids that a setting names."""
    if wanted:
        return _as_wanted(chassis, wanted)
    nodes = {path: one for path, one in chassis.items() if _type(one) not in SHARED | PARTS}
    linked = [path for path, one in nodes.items() if systems(one)]
    pool = linked or list(nodes)
    found = {system for path in pool for system in systems(chassis[path])}
    names = ", ".join(sorted(name(path, chassis[path]) for path in chassis)) or "none"
    outer = _outermost(chassis, pool)
    if not outer:
        return Choice(why_none=f"none of the BMC's chassis ({names}) is a node's: set redfish.chassis")
    if len(found) > 1 or (not linked and len(outer) > 1):
        return Choice(
            why_none=f"the BMC has {max(len(found), len(outer))} nodes in its chassis ({names}), and which "
            "one this is can't be seen: set redfish.chassis"
        )
    return Choice([_candidate(chassis, path, pool) for path in outer])


def systems(resource: Resource) -> tuple[str, ...]:
    """The paths of the computer systems in a chassis."""
    return tuple(links(resource, "Links", "ComputerSystems"))


def name(path: str, resource: Resource) -> str:
    """A chassis' id: the zone's index."""
    return safe_name(text_at(resource, "Id") or path.rpartition("/")[2])[:_NAME_CHARACTERS_MAX]


def _as_wanted(chassis: Mapping[str, Resource], wanted: Collection[str]) -> Choice:
    by_name = {name(path, one): path for path, one in chassis.items()}
    choice, pool = Choice(), []
    for one in wanted:
        path = by_name.get(one)
        if path is None:
            known = ", ".join(sorted(by_name)) or "none"
            choice.skipped.append(f"redfish.chassis: there is no chassis {one}; the BMC has {known}")
        elif _type(chassis[path]) in SHARED:
            choice.skipped.append(
                f"redfish.chassis: {one} is of type {_type(chassis[path])}, whose total isn't one node's"
            )
        else:
            pool.append(path)
    outer = _outermost(chassis, pool)
    choice.chosen = [_candidate(chassis, path, pool) for path in outer]
    choice.skipped += [
        f"redfish.chassis: {name(path, chassis[path])} is within another one of them, whose total has it"
        for path in pool
        if path not in outer
    ]
    if not outer:
        choice.why_none = "; ".join(choice.skipped)
    return choice


def _type(resource: Resource) -> str:
    return text_at(resource, "ChassisType")


def _around(chassis: Mapping[str, Resource], path: str) -> set[str]:
    """All chassis that contain this one, at any depth."""
    around: set[str] = set()
    waiting = [path]
    while waiting:
        inner = waiting.pop()
        outer = {link(chassis.get(inner), "Links", "ContainedBy")}
        outer |= {other for other, one in chassis.items() if inner in links(one, "Links", "Contains")}
        waiting += outer - around - {""}
        around |= outer - {""}
    return around - {path}


def _outermost(chassis: Mapping[str, Resource], pool: Sequence[str]) -> list[str]:
    """Those that no other one of the pool contains; of two that contain each other, the first."""
    found: list[str] = []
    for place, path in enumerate(pool):
        around = _around(chassis, path) & set(pool)
        later = {other for other in around if path in _around(chassis, other) and other in pool[place:]}
        if not around - later:
            found.append(path)
    return found


def _candidate(chassis: Mapping[str, Resource], path: str, pool: Sequence[str]) -> Candidate:
    within = [other for other in pool if other != path and path in _around(chassis, other)]
    rest = [other for other in within if other not in _around(chassis, path)]
    inner = tuple(_candidate(chassis, other, rest) for other in _outermost(chassis, rest))
    return Candidate(path, name(path, chassis[path]), systems(chassis[path]), inner)
