# SPDX-License-Identifier: Apache-2.0
"""Everything the calculator remembers, and the two steps that change it. Pure."""

from dataclasses import dataclass, field

from wattline.wire.frames import Activity, Power

from .books import Books
from .names import Names, charge_use
from .timeline import Timeline
from .usage import UsageBook
from .zones import Zones


@dataclass
class State:
    """What the ledger holds. `epoch`: CLOCK_MONOTONIC when these books were opened."""

    epoch: int
    usage: UsageBook = field(default_factory=UsageBook)
    zones: Zones = field(default_factory=Zones)
    books: Books = field(default_factory=Books)
    timeline: Timeline = field(default_factory=Timeline)

    def take_activity(self, activity: Activity, names: Names) -> None:
        """Book the CPU time of a frame; its energy follows when the meters have covered it."""
        use = self.usage.advance(activity)
        if use is None:
            return
        names.take_activity(activity)
        self.timeline.add(charge_use(use, names, self.books), self.zones.watermarks_ns())
        self.books.keep_only(self.usage.processes)

    def take_power(self, power: Power) -> int:
        """Take readings; how many were refused because a cumulative energy fell."""
        return self.zones.read(power, self.books)

    def attribute(self, policy: str) -> bool:
        """Give away what meters and activity both cover; whether there was any."""
        return self.zones.attribute(self.timeline, self.books, policy)
