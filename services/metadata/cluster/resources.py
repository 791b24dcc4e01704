# SPDX-License-Identifier: Apache-2.0
"""CPU requests and quality of service, by what a pod's manifest asks for. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from .json_part import Part
from .quantity import milli, quantity

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_CPU, _MEMORY = "cpu", "memory"
_Number = TypeVar("_Number", int, Fraction)


@dataclass
class Resources:
    """Reads `resources` of containers and pods. `trouble`: quantities that are none, each counted as 0."""

    trouble: list[str] = field(default_factory=list)

    def cpu_request_m(self, owner: Part) -> int:
        """Thousandths of a CPU that a container or pod requests: its limit if it names only that, else 0.

        Source: Kubernetes, "Resource Management for Pods and Containers": a limit without a request is both.
        """
        found = owner.part("resources")
        limits, requests = found.part("limits"), found.part("requests")
        return self._read(requests if requests.found.get(_CPU) is not None else limits, _CPU, milli) or 0

    def qos_class(self, pod: Part, containers: Iterable[Part]) -> str:
        """The class that Kubernetes would give; `containers`: with the init ones, without ephemeral ones.

        Source: Kubernetes, "Pod Quality of Service Classes"; what the pod itself asks for goes first.
        """
        asking = [pod] if pod.part("resources").found else list(containers)
        limits = [self._asked(one.part("resources").part("limits")) for one in asking]
        requests = [
            limit | self._asked(one.part("resources").part("requests"))
            for one, limit in zip(asking, limits, strict=True)
        ]
        if not any(requests):
            return BEST_EFFORT
        is_limited = all(len(limit) == len((_CPU, _MEMORY)) for limit in limits)
        return GUARANTEED if is_limited and _sums(requests) == _sums(limits) else BURSTABLE

    def _asked(self, asked: Part) -> dict[str, Fraction]:
        found = {name: self._read(asked, name, quantity) for name in (_CPU, _MEMORY)}
        return {name: value for name, value in found.items() if value is not None and value > 0}

    def _read(self, asked: Part, name: str, read: Callable[[object], _Number]) -> _Number | None:
        value = asked.found.get(name)
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as error:
            self.trouble.append(f"{asked.where}.{name}: {error}; counted as 0")
            return None


def _sums(asked: Iterable[Mapping[str, Fraction]]) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = {}
    for one in asked:
        for name, value in one.items():
            sums[name] = sums.get(name, Fraction()) + value
    return sums
