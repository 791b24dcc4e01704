# SPDX-License-Identifier: Apache-2.0
"""A pod as far as Wattline asks. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wattline.wire.frames import SourceState

CONTAINER, INIT, SIDECAR, EPHEMERAL, PAUSE = "container", "init", "sidecar", "ephemeral", "pause"


@dataclass(frozen=True)
class PodContainer:
    """One of a pod's containers. `kind`: CONTAINER, INIT, SIDECAR or EPHEMERAL.

    `container_ids`: without their runtime's prefix; the running one's and those of earlier runs that are
    still known; none while it hasn't started. `cpu_request_m`: thousandths of a CPU; 0 if it requests none.
    """

    name: str
    kind: str = CONTAINER
    container_ids: tuple[str, ...] = ()
    cpu_request_m: int = 0


@dataclass(frozen=True)
class Pod:
    """`uid`: the one that its cgroups bear, of a static pod `config.hash`; `api_uid`: the API's.

    `labels`: the chosen ones. `owner_kind` and `owner_name`: the workload that it belongs to; empty: none.
    `trouble`: what of it could not be read, for people.
    """

    uid: str
    api_uid: str
    name: str
    namespace: str
    owner_kind: str = ""
    owner_name: str = ""
    qos_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[PodContainer, ...] = ()
    trouble: str = ""


class PodSource(Protocol):
    """Where pods are known from. It works in a thread of its own and never blocks its caller."""

    def pods(self) -> Mapping[str, Pod]:
        """This node's pods by `uid`, as last told; the same object while nothing has changed. Never waits."""

    def has_told(self) -> bool:
        """Whether the whole list has been seen at least once since the start."""

    def state(self) -> SourceState:
        """Source `kubernetes`: up, or why not."""

    def close(self) -> None:
        """End its thread; within a second, whatever the cluster does."""
