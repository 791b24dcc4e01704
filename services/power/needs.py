# SPDX-License-Identifier: Apache-2.0
"""The rights that a source must have to open its meter and to read it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wattline.confine.system_calls import Numbers


@dataclass(frozen=True)
class Needs:
    """`capabilities`: by name. `families`: of sockets. `calls`: system calls beyond those of every service.

    `ioctls`: requests of ioctl(2) beyond those of every service.
    Source: wattline/confine, which limits a process to the union of what its sources need.
    """

    capabilities: tuple[str, ...] = ()
    families: tuple[int, ...] = ()
    calls: Mapping[str, Numbers] = field(default_factory=dict)
    ioctls: tuple[int, ...] = ()


def union(every: Iterable[Needs]) -> Needs:
    """All that any of them needs, in a canonical order."""
    every = list(every)
    return Needs(
        tuple(sorted({name for needs in every for name in needs.capabilities})),
        tuple(sorted({int(family) for needs in every for family in needs.families})),
        {name: numbers for needs in every for name, numbers in sorted(needs.calls.items())},
        tuple(sorted({request for needs in every for request in needs.ioctls})),
    )
