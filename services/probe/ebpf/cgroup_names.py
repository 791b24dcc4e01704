# SPDX-License-Identifier: Apache-2.0
"""Paths, parents and removals of cgroups, as the kernel told them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wattline.cgroup2 import ROOT_ID
from wattline.wire.names import safe_name


@dataclass
class CgroupNames:
    """What is known of each cgroup by id. `removed_ns`: CLOCK_MONOTONIC, 0 while it exists."""

    removed_ns: dict[int, int] = field(default_factory=dict)
    _presumed: dict[int, int] = field(default_factory=dict)
    _paths: dict[int, str] = field(default_factory=dict)
    _raw_paths: dict[int, bytes] = field(default_factory=dict)
    _by_path: dict[str, int] = field(default_factory=dict)
    _parents: dict[int, int] = field(default_factory=dict)

    def take_removals(self, removals: Mapping[int, int]) -> set[int]:
        """Become what the kernel lists now; of whom the path is not known yet."""
        listed = {**self._presumed, **removals}
        for cgroup_id in self.removed_ns.keys() - listed.keys():
            self._forget(cgroup_id)
        self.removed_ns = listed
        return removals.keys() - self._paths.keys()

    def presume(self, cgroup_id: int, raw_path: bytes, removed_ns: int) -> None:
        """What we found out by ourselves of a cgroup that the kernel had no room, or no occasion, to list."""
        self._presumed[cgroup_id] = self.removed_ns[cgroup_id] = removed_ns
        self.take_path(cgroup_id, raw_path)

    def is_presumed(self, cgroup_id: int) -> bool:
        """Whether the kernel does not list it."""
        return cgroup_id in self._presumed

    def drop_presumed(self, cgroup_id: int) -> None:
        """It has been let go of."""
        self._presumed.pop(cgroup_id, None)

    def take_path(self, cgroup_id: int, raw: bytes) -> None:
        """The path of one cgroup as the kernel has it: bytes that may end in NULs."""
        path = safe_name(raw)
        if path != self._paths.get(cgroup_id):
            self._parents.pop(cgroup_id, None)
        self._raw_paths[cgroup_id] = raw.split(b"\0", 1)[0]
        self._paths[cgroup_id] = path
        # A path is given again after a removal, to another cgroup: the living one is whoever is meant by it.
        if path not in self._by_path or not self.is_removed(cgroup_id):
            self._by_path[path] = cgroup_id

    def path(self, cgroup_id: int) -> str:
        """Below the cgroup2 mount, from "/"; empty if it is not known."""
        return self._paths.get(cgroup_id, "")

    def raw_path(self, cgroup_id: int) -> bytes:
        """The same as the file system wants it."""
        return self._raw_paths.get(cgroup_id, b"")

    def is_removed(self, cgroup_id: int) -> bool:
        """Whether its directory is gone."""
        return self.removed_ns.get(cgroup_id, 0) != 0

    def parent_id(self, cgroup_id: int) -> int:
        """The cgroup above; the root where that is not known, and 0 for the root itself.

        Once told it stays while this reader lives, even if another cgroup is made at the parent's path: what
        has been published as the parent is where the row will go.
        """
        if cgroup_id == ROOT_ID:
            return 0
        if cgroup_id not in self._parents:
            above = self.path(cgroup_id).rpartition("/")[0]
            self._parents[cgroup_id] = self._by_path.get(above, ROOT_ID) if above else ROOT_ID
        return self._parents[cgroup_id]

    def alive(self) -> list[int]:
        """Cgroups that exist, as far as we were told."""
        return [cgroup_id for cgroup_id, removed_ns in self.removed_ns.items() if not removed_ns]

    def removed_before(self, mono_ns: int) -> list[int]:
        """Cgroups removed before a time, the deeper ones first: a parent goes after its children."""
        removed = [key for key, removed_ns in self.removed_ns.items() if 0 < removed_ns < mono_ns]
        return sorted(removed, key=lambda cgroup_id: -self.path(cgroup_id).count("/"))

    def without_path(self, cgroup_ids: Iterable[int]) -> set[int]:
        """Of these, whom we know nothing about."""
        return {cgroup_id for cgroup_id in cgroup_ids if cgroup_id not in self._paths}

    def _forget(self, cgroup_id: int) -> None:
        path = self._paths.pop(cgroup_id, "")
        self._raw_paths.pop(cgroup_id, None)
        self._parents.pop(cgroup_id, None)
        if self._by_path.get(path) == cgroup_id:
            del self._by_path[path]
