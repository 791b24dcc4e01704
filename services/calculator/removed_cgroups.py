# SPDX-License-Identifier: Apache-2.0
"""Where the time of removed cgroups went: into departed rows of those above. Pure.

Formula 2 in docs/attribution.md, its second half. All amounts are CPU time in ns, by cgroup id.
"""

from collections.abc import Iterable, Iterator, Mapping

from wattline.wire.frames import CGROUP_DEPARTED, ActivityCgroups, ActivityPaths

LOST_TIME = 0  # no cgroup has this id: time that somebody used, but that found no row

Times = dict[int, int]
Parents = dict[int, int]


def sum_rows(rows: ActivityCgroups) -> tuple[Times, Times]:
    """(own rows, departed rows), each summed over sockets."""
    own: Times = {}
    departed: Times = {}
    flags = rows.flags or bytes(len(rows))
    for cgroup_id, flag, cpu_ns in zip(rows.cgroup_id, flags, rows.cpu_ns, strict=True):
        times = departed if flag & CGROUP_DEPARTED else own
        times[cgroup_id] = times.get(cgroup_id, 0) + cpu_ns
    return own, departed


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


def growth(before: Times, now: Times) -> tuple[Times, Times]:
    """(what departed rows gained, the last figures of those that have gone).

    A row that fell has gone, and another one has begun at 0 in its place.
    """
    gone = {cgroup_id: ns for cgroup_id, ns in before.items() if now.get(cgroup_id, 0) < ns}
    gained = {
        cgroup_id: ns if cgroup_id in gone else ns - before.get(cgroup_id, 0) for cgroup_id, ns in now.items()
    }
    return gained, gone


def take_back(seen: Times, gained: Times, parents: Parents) -> Times:
    """Take what has been seen of rows that have gone out of what departed rows gained; what found no room.

    Each out of the nearest ancestor's gain; what is more, out of the next one's, for rows may have gone
    further up in one window. What has no known ancestor with room is in some other gain, in the order of
    `gained` from its end.
    """
    homeless: Times = {}
    for cgroup_id, seen_ns in seen.items():
        left_ns = seen_ns
        for place in ancestors(cgroup_id, parents):
            taken_ns = min(left_ns, gained.get(place, 0))
            if taken_ns:
                gained[place] -= taken_ns
                left_ns -= taken_ns
        if left_ns:
            homeless[cgroup_id] = left_ns
    places = list(gained)
    for cgroup_id in list(homeless):
        while homeless[cgroup_id] and places:
            taken_ns = min(homeless[cgroup_id], gained[places[-1]])
            gained[places[-1]] -= taken_ns
            homeless[cgroup_id] -= taken_ns
            if not gained[places[-1]]:
                places.pop()
    return {cgroup_id: left_ns for cgroup_id, left_ns in homeless.items() if left_ns}
