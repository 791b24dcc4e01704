# SPDX-License-Identifier: Apache-2.0
"""Looks for the node's chassis and their meters. A slow BMC may need several rounds for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import layouts
from .chassis import Candidate, Choice, choose
from .figure import Meter
from .resource import Resource, Resources, link, links

ROOT = "/redfish/v1"
_CHASSIS = "/redfish/v1/Chassis"

Get = Callable[[str], Resource | None]  # None: there is no such resource


@dataclass
class Sight:
    """The meters of the node's chassis by the chassis' id, and why others are left out."""

    meters: Mapping[str, Meter] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    why_none: str = ""


class Look:
    """What has been seen so far; `have` keeps it if a request fails in the middle."""

    def __init__(self, wanted: Sequence[str], period_ns: int) -> None:
        """`wanted`: the ids of the node's chassis, as a setting names them; empty to choose."""
        self._wanted = wanted
        self._period_ns = period_ns
        self._have: dict[str, Resource | None] = {}

    def go_on(self, get: Get) -> Sight:
        """Look at what is missing, then choose; begin anew the next time. What `get` raises goes through."""
        root = self._seen(get, ROOT)
        collection = self._seen(get, link(root, "Chassis") or _CHASSIS)
        chassis = {}
        for path in links(collection, "Members"):
            if (one := self._seen(get, path)) is not None:
                chassis[path] = one
        choice = choose(chassis, self._wanted)
        meters: dict[str, Meter] = {}
        without: list[str] = []
        for candidate in choice.chosen:
            self._choose(get, candidate, meters, without)
        have, self._have = self._have, {}
        return Sight(meters, choice.skipped, _why_none(choice, without, have) if not meters else "")

    def _choose(self, get: Get, candidate: Candidate, meters: dict[str, Meter], without: list[str]) -> None:
        """Take a chassis' meter, or else those of the chassis within it."""
        while missing := layouts.wanted(candidate, self._have):
            for path in missing:
                self._seen(get, path)
        meter = layouts.choose(candidate, self._have, self._period_ns)
        if meter is not None:
            meters[candidate.name] = meter
            return
        without.append(candidate.name)
        for inner in candidate.inner:
            self._choose(get, inner, meters, without)

    def _seen(self, get: Get, path: str) -> Resource | None:
        if path not in self._have:
            self._have[path] = get(path)
        return self._have[path]


def _why_none(choice: Choice, without: Sequence[str], have: Resources) -> str:
    if choice.why_none:
        return choice.why_none
    if have.get(ROOT) is None:
        return f"{ROOT}: the BMC has no Redfish service root"
    return f"chassis {', '.join(without)}: the BMC shows neither power nor energy"
