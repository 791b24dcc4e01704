# SPDX-License-Identifier: Apache-2.0
"""What each cgroup's own tasks used, out of the kernel's hierarchical accounts. Pure."""

from dataclasses import dataclass

from wattline.wire.columns import U8, U64
from wattline.wire.frames import CGROUP_DEPARTED, Activity, ActivityCgroups, ActivityPaths
from wattline.wire.names import safe_name

from .reading import Place, Reading
from .share import share


@dataclass(slots=True)
class _Cgroup:
    """`cpu_ns` is its own, published; `usage_ns` the kernel's with all descendants, above `base_ns`."""

    cgroup_id: int
    parent_id: int
    path: str
    base_ns: int
    cpu_ns: int = 0
    gained_ns: int = 0  # by the last reading
    usage_ns: int = 0
    removed_mono_ns: int = 0  # 0: it is there


class CgroupBook:
    """Own CPU time of each cgroup since the epoch.

    A living cgroup's own time is its usage less its children's, less also what is published of descendants
    that are gone: the kernel keeps these in the ancestors' usage. Not all usage is read at one instant, so
    that may be less than is published already; then the row waits until it has been caught up with.
    """

    def __init__(self, root_id: int, bases_ns: dict[int, int]) -> None:
        """As at the epoch, from the usage of that moment by cgroup id; who comes later begins at 0."""
        self._bases_ns = bases_ns
        self._root = _Cgroup(root_id, 0, "/", 0)
        self._rows = {root_id: self._root}
        self._departed_ns: dict[int, int] = {}  # by the id of the ancestor it was folded into

    def restore(self, previous: Activity) -> None:
        """Go on from a frame. What has gone meanwhile will be found missing in the next reading."""
        paths, table = previous.paths, previous.cgroups
        for cgroup_id, parent_id, removed, path in zip(
            paths.cgroup_id, paths.parent_id, paths.removed, paths.path, strict=True
        ):
            row = self._add(cgroup_id, parent_id, path)
            row.removed_mono_ns = previous.mono_ns if removed else 0
        flags = table.flags or bytes(len(table))
        for cgroup_id, flag, cpu_ns in zip(table.cgroup_id, flags, table.cpu_ns, strict=True):
            if flag & CGROUP_DEPARTED:
                self._departed_ns[cgroup_id] = cpu_ns
            else:
                row = self._rows.get(cgroup_id) or self._add(cgroup_id, self._root.cgroup_id, "")
                row.cpu_ns = cpu_ns
        self._root = self._rows[self._root.cgroup_id]

    def advance(self, reading: Reading, most_ns: int) -> int:
        """Take a reading. Returns how much time was given to cgroups below the root, at most `most_ns`.

        The readings' instants differ, so together they may claim more than there has been: then each gets its
        share now, and the rest with the next reading.
        """
        self._take(reading)
        gained_ns = share(self._unpublished_ns(), most_ns)
        for row in self._rows.values():
            row.gained_ns = gained_ns.get(row.cgroup_id, 0)
            row.cpu_ns += row.gained_ns
        return sum(gained_ns.values())

    def charge_root(self, ns: int) -> None:
        """What nobody else used is the root's."""
        self._root.gained_ns = ns
        self._root.cpu_ns += ns

    def nearest(self, cgroup_id: int, reading: Reading) -> int:
        """The cgroup itself, or its nearest ancestor that has a row."""
        if cgroup_id in self._rows:
            return cgroup_id
        parents = {place.cgroup_id: place.parent_id for place in reading.places}
        while cgroup_id not in self._rows:
            cgroup_id = parents.get(cgroup_id, self._root.cgroup_id)
        return cgroup_id

    def gained_ns(self, cgroup_id: int) -> int:
        """How much a cgroup's row grew by the last reading."""
        return self._rows[cgroup_id].gained_ns

    @property
    def root_ns(self) -> int:
        """All that the root's row holds."""
        return self._root.cpu_ns

    def fold(self, removed_before_ns: int) -> None:
        """Add those removed before a time to their nearest living ancestor's departed row.

        A child goes no later than its parent, so no row is left whose parent has none.
        """
        folded = [row for row in self._rows.values() if 0 < row.removed_mono_ns < removed_before_ns]
        heirs = {row.cgroup_id: self._living(row.cgroup_id) for row in folded}
        for row in folded:
            del self._rows[row.cgroup_id]
            ns = row.cpu_ns + self._departed_ns.pop(row.cgroup_id, 0)
            if ns:
                heir = heirs[row.cgroup_id]
                self._departed_ns[heir] = self._departed_ns.get(heir, 0) + ns

    def table(self) -> ActivityCgroups:
        """As the frame has it: own rows, then departed ones."""
        rows, departed = self._rows, self._departed_ns
        return ActivityCgroups(
            cgroup_id=U64([*rows, *departed]),
            flags=U8([0] * len(rows) + [CGROUP_DEPARTED] * len(departed)),
            cpu_ns=U64([*(row.cpu_ns for row in rows.values()), *departed.values()]),
        )

    def paths(self) -> ActivityPaths:
        """As the frame has it."""
        rows = self._rows.values()
        return ActivityPaths(
            cgroup_id=U64(self._rows),
            parent_id=U64(row.parent_id for row in rows),
            removed=U8(row.removed_mono_ns > 0 for row in rows),
            path=[row.path for row in rows],
        )

    def _take(self, reading: Reading) -> None:
        usage_ns = reading.usage_ns
        for place in reading.places:
            if place.cgroup_id in usage_ns:
                row = self._rows.get(place.cgroup_id) or self._appear(place, reading)
                row.usage_ns = max(row.usage_ns, usage_ns[place.cgroup_id] - row.base_ns)
                row.removed_mono_ns = 0
        for row in self._rows.values():
            if row.cgroup_id not in usage_ns and not row.removed_mono_ns and row is not self._root:
                row.removed_mono_ns = reading.stamp_mono_ns

    def _unpublished_ns(self) -> dict[int, int]:
        """By cgroup id: how far what is published is behind what the kernel says."""
        root_id = self._root.cgroup_id
        living = [row for row in self._rows.values() if row.cgroup_id != root_id and not row.removed_mono_ns]
        behind_ns = {row.cgroup_id: row.usage_ns - row.cpu_ns for row in living}
        behind_ns[root_id] = 0
        for row in living:
            behind_ns[self._living(row.parent_id)] -= row.usage_ns
        for row in self._rows.values():
            if row.removed_mono_ns:
                behind_ns[self._living(row.parent_id)] -= row.cpu_ns
        for cgroup_id, ns in self._departed_ns.items():
            behind_ns[self._living(cgroup_id)] -= ns
        del behind_ns[root_id]
        return {cgroup_id: ns for cgroup_id, ns in behind_ns.items() if ns > 0}

    def _living(self, cgroup_id: int) -> int:
        """The cgroup itself, or its nearest ancestor that is there."""
        while (row := self._rows.get(cgroup_id)) is not None and row.removed_mono_ns:
            cgroup_id = row.parent_id
        return self._root.cgroup_id if row is None else cgroup_id

    def _appear(self, place: Place, reading: Reading) -> _Cgroup:
        return self._add(place.cgroup_id, self.nearest(place.parent_id, reading), safe_name(place.path))

    def _add(self, cgroup_id: int, parent_id: int, path: str) -> _Cgroup:
        row = _Cgroup(cgroup_id, parent_id, path, self._bases_ns.get(cgroup_id, 0))
        self._rows[cgroup_id] = row
        return row
