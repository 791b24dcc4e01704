# SPDX-License-Identifier: Apache-2.0
"""Where the time of removed cgroups went: into departed rows of those above. Pure.

Formula 2 in docs/attribution.md, its second half. All amounts are of one counter: CPU time in ns, say.
"""

from collections.abc import Iterable, Iterator, Mapping

from wattline.wire.frames import ActivityPaths

LOST_TIME = 0  # no cgroup has this id: time that somebody used, but that found no row

Place = tuple[int, int]  # cgroup id, socket
Amounts = dict[Place, int]
Parents = dict[int, int]  # by cgroup id


def parents_in(paths: ActivityPaths) -> Parents:
    """The cgroup above each one.

    Frames list cgroups that have rows. One without, somewhere between two that have, is taken to be right
    below the upper one.
    """
    parents = {
        child: parent for child, parent in zip(paths.cgroup_id, paths.parent_id, strict=True) if parent
    }
    listed = dict(zip(paths.path, paths.cgroup_id, strict=True))
    ids = set(paths.cgroup_id)
    for path, parent in zip(paths.path, paths.parent_id, strict=True):
        if parent and parent not in ids:
            above = path.rpartition("/")[0]  # the unlisted parent
            while above and parent not in parents:
                above = above.rpartition("/")[0]
                if (above or "/") in listed:
                    parents[parent] = listed[above or "/"]
    return parents


def ancestors(cgroup_id: int, parents: Mapping[int, int]) -> Iterator[int]:
    """From the cgroup above to the root, as far as they are known."""
    seen = {cgroup_id}
    while (cgroup_id := parents.get(cgroup_id, 0)) and cgroup_id not in seen:
        seen.add(cgroup_id)
        yield cgroup_id


def only_needed(parents: Parents, cgroup_ids: Iterable[int]) -> Parents:
    """The parents of these and of all above them: the others can be forgotten."""
    needed: Parents = {}
    for start in cgroup_ids:
        child = start
        while child not in needed and child in parents:
            needed[child] = parents[child]
            child = parents[child]
    return needed


def growth(before: Amounts, now: Amounts) -> tuple[Amounts, Amounts]:
    """(what departed rows gained, the last figures of those that have gone).

    A row that fell has gone, and another one has begun at 0 in its place.
    """
    gone = {place: amount for place, amount in before.items() if now.get(place, 0) < amount}
    gained = {
        place: amount if place in gone else amount - before.get(place, 0) for place, amount in now.items()
    }
    return gained, gone


def take_back(seen: Amounts, gained: Amounts, parents: Parents) -> Amounts:
    """Take what has been seen of rows that have gone out of what departed rows gained; what found no room.

    Each out of the nearest ancestor's gain on its socket; what is more, out of the next one's, for rows may
    have gone further up in one window. What has no known ancestor with room is in some other gain, in the
    order of `gained` from its end.
    """
    homeless: Amounts = {}
    for (cgroup_id, socket), amount in seen.items():
        left = amount
        for ancestor in ancestors(cgroup_id, parents):
            taken = min(left, gained.get((ancestor, socket), 0))
            if taken:
                gained[ancestor, socket] -= taken
                left -= taken
        if left:
            homeless[cgroup_id, socket] = left
    rooms = list(gained)
    for place in list(homeless):
        while homeless[place] and rooms:
            taken = min(homeless[place], gained[rooms[-1]])
            gained[rooms[-1]] -= taken
            homeless[place] -= taken
            if not gained[rooms[-1]]:
                rooms.pop()
    return {place: left for place, left in homeless.items() if left}
