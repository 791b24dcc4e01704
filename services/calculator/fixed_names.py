# SPDX-License-Identifier: Apache-2.0
"""Names of containers, pods and machines: fixed once, kept as long as they live. Pure.

docs/decisions/0028-names-that-come-late.md has the reasons.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .names import Names
from .reported_names import ContainerName, MachineName, PodName
from .workloads import Alive

# The longest that a name is awaited, whatever metadata says: its own limit (name-grace-s) is never longer.
AWAITED_MAX_NS = 60_000_000_000
# What the time between two calculators counts: one that is killed again and again ends the wait as well.
_RESTART_STEP_NS = 1_000_000_000

_Name = TypeVar("_Name", ContainerName, PodName)


@dataclass
class FixedNames:
    """The fixed names by id, and how long each of the others has been awaited. Holds only what is alive."""

    containers: dict[str, ContainerName] = field(default_factory=dict)
    pods: dict[str, PodName] = field(default_factory=dict)
    machines: dict[str, MachineName] = field(default_factory=dict)
    awaited_containers_ns: dict[str, int] = field(default_factory=dict)
    awaited_pods_ns: dict[str, int] = field(default_factory=dict)
    _settled_ns: int = 0

    def settle(self, alive: Alive, names: Names, now_ns: int) -> None:
        """Fix the names that aren't awaited any more. `now_ns`: CLOCK_MONOTONIC.

        A name is awaited while metadata says so, or does not know of the container or pod at all (it has been
        started anew, say); that of a container without a row also while its pod's is. AWAITED_MAX_NS at most.
        """
        step_ns = max(0, now_ns - self._settled_ns) if self._settled_ns else _RESTART_STEP_NS
        self._settled_ns = now_ns
        reported = names.reported

        def is_final_pod(pod_uid: str) -> bool:
            return pod_uid in names.pod_uids and pod_uid not in reported.awaited_pods

        def is_final_container(container_id: str) -> bool:
            if container_id not in names.container_ids or container_id in reported.awaited_containers:
                return False
            return (
                container_id in reported.containers or alive.pod_of[container_id] not in self.awaited_pods_ns
            )

        pods = _Level(self.pods, self.awaited_pods_ns, reported.pods, PodName())
        pods.settle(alive.pods, is_final_pod, step_ns)
        containers = _Level(self.containers, self.awaited_containers_ns, reported.containers, ContainerName())
        containers.settle(alive.pod_of.keys(), is_final_container, step_ns)
        _drop(self.machines, alive.machines)
        for vm_id in sorted(alive.machines & reported.machines.keys() - self.machines.keys()):
            self.machines[vm_id] = reported.machines[vm_id]


@dataclass(frozen=True)
class _Level(Generic[_Name]):
    """Pods, or containers. `fixed` and `awaited_ns` are the dictionaries to change."""

    fixed: dict[str, _Name]
    awaited_ns: dict[str, int]
    reported: Mapping[str, _Name]
    unnamed: _Name

    def settle(self, alive: AbstractSet[str], is_final: Callable[[str], bool], step_ns: int) -> None:
        _drop(self.fixed, alive)
        _drop(self.awaited_ns, alive)
        for one in sorted(alive - self.fixed.keys()):
            waited_ns = self.awaited_ns[one] + step_ns if one in self.awaited_ns else 0
            if is_final(one) or waited_ns >= AWAITED_MAX_NS:
                self.fixed[one] = self.reported.get(one, self.unnamed)
                self.awaited_ns.pop(one, None)
            else:
                self.awaited_ns[one] = waited_ns


def _drop(entries: dict[str, Any], alive: AbstractSet[str]) -> None:
    for one in entries.keys() - alive:
        del entries[one]
