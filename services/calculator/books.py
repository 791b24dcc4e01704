# SPDX-License-Identifier: Apache-2.0
"""Who has been given how much: rows of processes, their containers, and what nobody was given. Pure.

Energy is apportioned once, at the finest row; a container's total is the sum of its rows and of those that
have left. A row that leaves, or changes its container, leaves its totals behind: no sum ever falls.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .usage import Key

SYSTEM, KERNEL, UNKNOWN = "system_processes", "kernel_processes", "unknown_processes"


@dataclass(eq=False)
class Container:
    """A container, or one of the three that stand for what runs outside of any.

    `departed_*`: totals of its processes that are no longer listed. Energies are per zone, in µJ.
    """

    container_id: str
    number: int  # its place among the containers, in the order in which they appeared
    pod_uid: str = ""
    runtime: str = ""
    departed_cpu_ns: int = 0
    departed_dynamic_uj: list[int] = field(default_factory=list)
    departed_idle_uj: list[int] = field(default_factory=list)

    @property
    def order(self) -> tuple[str, Key]:
        """Place in the canonical order of targets: before its own processes."""
        return (self.container_id, (0, 0, 0))

    def charge(self, zone: int, dynamic_uj: int, idle_uj: int) -> None:
        """Energy of processes that are not listed."""
        self.departed_dynamic_uj[zone] += dynamic_uj
        self.departed_idle_uj[zone] += idle_uj

    def charge_cpu(self, cpu_ns: int) -> None:
        """CPU time of processes that are not listed."""
        self.departed_cpu_ns += cpu_ns


@dataclass(eq=False)
class Row:
    """A process in a cgroup. After it has left, what still arrives for it goes to its container."""

    key: Key
    container: Container
    cpu_ns: int = 0
    dynamic_uj: list[int] = field(default_factory=list)
    idle_uj: list[int] = field(default_factory=list)
    left: bool = False

    @property
    def order(self) -> tuple[str, Key]:
        """Place in the canonical order of targets."""
        return (self.container.container_id, self.key)

    def charge(self, zone: int, dynamic_uj: int, idle_uj: int) -> None:
        """Energy of this process."""
        if self.left:
            self.container.charge(zone, dynamic_uj, idle_uj)
        else:
            self.dynamic_uj[zone] += dynamic_uj
            self.idle_uj[zone] += idle_uj

    def charge_cpu(self, cpu_ns: int) -> None:
        """CPU time of this process."""
        if self.left:
            self.container.charge_cpu(cpu_ns)
        else:
            self.cpu_ns += cpu_ns

    def leave(self) -> None:
        """Hand the totals to the container."""
        self.left = True
        self.container.charge_cpu(self.cpu_ns)
        for zone, (dynamic_uj, idle_uj) in enumerate(zip(self.dynamic_uj, self.idle_uj, strict=True)):
            self.container.charge(zone, dynamic_uj, idle_uj)


class Nobody:
    """The target of time whose user could not be recorded: its energy is unattributed."""

    order = ("", (0, 0, 0))

    def charge_cpu(self, cpu_ns: int) -> None:
        """Nobody keeps no account of time; the probe publishes it as lost."""


NOBODY = Nobody()
Target = Row | Container | Nobody


@dataclass
class Books:
    """All accounts. `unattributed_uj` by (zone, mode, reason)."""

    containers: dict[str, Container] = field(default_factory=dict)
    rows: dict[Key, Row] = field(default_factory=dict)
    unattributed_uj: dict[tuple[int, str, str], int] = field(default_factory=dict)
    zone_count: int = 0

    def add_zone(self) -> int:
        """Open an account for one more zone everywhere; its number."""
        for container in self.containers.values():
            container.departed_dynamic_uj.append(0)
            container.departed_idle_uj.append(0)
        for row in self.rows.values():
            row.dynamic_uj.append(0)
            row.idle_uj.append(0)
        self.zone_count += 1
        return self.zone_count - 1

    def container(self, container_id: str, runtime: str = "", pod_uid: str = "") -> Container:
        """The account of a container, opened if it is new."""
        found = self.containers.get(container_id)
        if found is None:
            found = self.containers[container_id] = Container(
                container_id,
                len(self.containers),
                pod_uid,
                runtime,
                0,
                [0] * self.zone_count,
                [0] * self.zone_count,
            )
        return found

    def row(self, key: Key, container: Container) -> Row:
        """The account of a process; if it has another container now, the old account leaves for a new one."""
        found = self.rows.get(key)
        if found is not None and found.container is container:
            return found
        if found is not None:
            found.leave()
        fresh = Row(key, container, 0, [0] * self.zone_count, [0] * self.zone_count)
        self.rows[key] = fresh
        return fresh

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Let all rows leave that are not listed any more."""
        listed = set(keys)
        for key in [key for key in self.rows if key not in listed]:
            self.rows.pop(key).leave()

    def leave_unattributed(self, zone: int, mode: str, reason: str, energy_uj: int) -> None:
        """Book energy that no workload is given, with the reason."""
        if energy_uj:
            account = (zone, mode, reason)
            self.unattributed_uj[account] = self.unattributed_uj.get(account, 0) + energy_uj

    def populated(self) -> list[tuple[Container, Sequence[Row]]]:
        """Containers that have listed processes, and these, in canonical order."""
        members: dict[str, list[Row]] = {}
        for row in self.rows.values():
            members.setdefault(row.container.container_id, []).append(row)
        return [
            (self.containers[container_id], sorted(rows, key=lambda row: row.key))
            for container_id, rows in sorted(members.items())
        ]
