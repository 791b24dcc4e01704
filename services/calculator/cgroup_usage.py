# SPDX-License-Identifier: Apache-2.0
"""What each cgroup used beyond its listed processes, removed ones below it included. Pure.

Formula 2 in docs/attribution.md: every nanosecond that the probe has charged to somebody is taken once.
"""

from dataclasses import dataclass, field

from .removed_cgroups import Amounts, Parents, Place, growth, take_back


@dataclass
class CgroupBook:
    """The last raw figures of one counter, by cgroup and socket."""

    own: Amounts = field(default_factory=dict)
    departed: Amounts = field(default_factory=dict)  # what removed cgroups below each one used
    lost: Amounts = field(default_factory=dict)  # what found no row, as if of cgroup LOST_TIME
    # How much more a cgroup's processes were charged than itself; the two tables aren't read in the same
    # instant. What is owed is taken from its next unlisted use, so the skew never adds up.
    owed: Amounts = field(default_factory=dict)

    def advance(
        self, own: Amounts, departed: Amounts, lost: Amounts, in_processes: Amounts, parents: Parents
    ) -> Amounts:
        """Use since the last frame that no listed process accounts for, that in no row included.

        `own`, `departed`, `lost`: the figures now. `in_processes`: what listed processes used meanwhile.
        """
        gained, gone = growth(self.departed, departed)
        gained = {
            **{place: max(0, amount - self.lost.get(place, 0)) for place, amount in lost.items()},
            **gained,
        }
        owed = self._settle(own, gained, gone, in_processes, parents)
        used: Amounts = {}
        for place in {**own, **gained}:
            more = gained.get(place, 0) - owed.pop(place, 0)
            if place in own:
                more += own[place] - self.own.get(place, 0) - in_processes.get(place, 0)
            if more > 0:
                used[place] = more
            elif more < 0:
                owed[place] = -more
        self.own, self.departed, self.lost, self.owed = own, departed, lost, owed
        return used

    def _settle(
        self, own: Amounts, gained: Amounts, gone: Amounts, in_processes: Amounts, parents: Parents
    ) -> Amounts:
        """Take what was charged already of rows that have gone out of `gained`; returns what is still owed.

        A cgroup that has processes, no row, and had none, came and went within this window; or it is so new
        that its row wasn't there yet when rows were read. Then, after all that surely have gone, nobody's
        gain has room for it, and it owes until its row appears.
        """
        went: Amounts = dict(gone)
        new: Amounts = {}
        for figures in (self.own, self.owed, in_processes):
            for place, amount in figures.items():
                if place not in own:
                    had_row = place in self.own or place in self.owed
                    _add(went if had_row else new, place, amount)
        take_back(went, gained, parents)
        owed = {place: amount for place, amount in self.owed.items() if place in own}
        return owed | take_back(new, gained, parents)


def _add(figures: Amounts, place: Place, amount: int) -> None:
    figures[place] = figures.get(place, 0) + amount
