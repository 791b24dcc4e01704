# SPDX-License-Identifier: Apache-2.0
"""Windows of use that some meter has yet to cover. Pure.

Every zone advances on its own clock: at each reading it takes, in one go, all windows that end by then and
that it has not taken yet. A slow meter so gets its own long window, and delays nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .columns import Ints
from .usage import NO_SOCKET
from .use_curve import Busy, UseCurve

# Windows kept apart while a meter is silent; beyond that the oldest are joined.
_WINDOWS_MAX = 64
_ENTRIES_MAX = 500_000  # users in all of them together

# What somebody used, on one socket: cpu_time (ns), frequency (CPU time × clock, in cycles), cycles,
# instructions, cache_misses, gpu_time (ns).
Feature = tuple[str, int]
_TIMES = ("cpu_time", "gpu_time")


@dataclass
class Window:
    """Use between two times, by the account it will be charged to. `gap` says why nothing is known before.

    `accounts` are in canonical order, without repeats; each column of `use` has their amounts.
    `capacity_ns`: processor time there was, by socket.
    """

    start_ns: int
    end_ns: int
    gap: str
    capacity_ns: dict[int, int]
    accounts: Ints
    use: dict[Feature, Ints]

    def of(self, feature: str, socket: int | None) -> Ints | None:
        """Amounts of a feature on a socket, or on all of them; None if nothing tells them."""
        columns = [
            column for (name, on), column in self.use.items() if name == feature and socket in (None, on)
        ]
        return sum(columns[1:], columns[0]) if columns else None

    def busy(self) -> dict[int, Busy]:
        """How busy the processors were, by socket."""
        busy_ns = dict.fromkeys(self.capacity_ns, 0)
        for (name, socket), amounts in self.use.items():
            if name in _TIMES:
                busy_ns[socket] = busy_ns.get(socket, 0) + int(amounts.sum())
        return {socket: Busy(ns, self.capacity_ns.get(socket, 0)) for socket, ns in busy_ns.items()}

    @property
    def sockets(self) -> set[int]:
        """Those that it tells apart."""
        return self.capacity_ns.keys() - {NO_SOCKET}


def joined(windows: Sequence[Window], forward: Ints, order: Ints) -> Window:
    """Adjoining windows as one. Who has left is charged through the heir: see `Accounts`.

    A meter that is silent for days so does not make us remember every process there was.
    """
    first, last = windows[0], windows[-1]
    charged = np.concatenate([forward[window.accounts] for window in windows])
    found, places = np.unique(charged, return_inverse=True)
    in_order = np.argsort(order[found], kind="stable")
    use: dict[Feature, Ints] = {}
    for feature in sorted({feature for window in windows for feature in window.use}):
        if not all(_tells(window, feature[0]) for window in windows):
            continue
        amounts = np.zeros(len(found), np.int64)
        none = [np.zeros(len(window.accounts), np.int64) for window in windows]
        np.add.at(
            amounts,
            places,
            np.concatenate(
                [window.use.get(feature, zero) for window, zero in zip(windows, none, strict=True)]
            ),
        )
        use[feature] = amounts[in_order]
    capacity_ns: dict[int, int] = {}
    for window in windows:
        for socket, ns in window.capacity_ns.items():
            capacity_ns[socket] = capacity_ns.get(socket, 0) + ns
    return Window(first.start_ns, last.end_ns, first.gap, capacity_ns, found[in_order], use)


def _tells(window: Window, name: str) -> bool:
    return not len(window.accounts) or any(feature[0] == name for feature in window.use)


@dataclass
class Timeline:
    """The windows, in time order; and how busy the processors were in all of them lately."""

    windows: list[Window] = field(default_factory=list)
    use: UseCurve = field(default_factory=UseCurve)

    def add(self, window: Window) -> None:
        """Append."""
        self.windows.append(window)
        self.use.add(window.start_ns, window.end_ns, window.busy())

    def shorten(self, watermarks_ns: Iterable[int], join: Callable[[list[Window]], Window]) -> None:
        """Join old windows, if there are too many, where no zone stands on their common bound.

        Where that is not enough, the oldest are forgotten: what a meter that comes back after so long, and
        after so many gaps, has counted is then nobody's.
        """
        bounds = set(watermarks_ns)
        while len(self.windows) > _WINDOWS_MAX or self._entries > _ENTRIES_MAX:
            for index, (before, after) in enumerate(pairwise(self.windows)):
                if before.end_ns == after.start_ns and before.end_ns not in bounds:
                    self.windows[index : index + 2] = [join([before, after])]
                    break
            else:
                self.windows = self.windows[1:]

    @property
    def _entries(self) -> int:
        return sum(len(window.accounts) for window in self.windows)

    def runs(self, after_ns: int, until_ns: int) -> list[list[Window]]:
        """Windows ending in (after, until], adjoining ones together: what to attribute at a reading."""
        runs: list[list[Window]] = []
        for window in self.windows:
            if after_ns < window.end_ns <= until_ns:
                if runs and runs[-1][-1].end_ns == window.start_ns:
                    runs[-1].append(window)
                else:
                    runs.append([window])
        return runs

    def drop_until(self, mono_ns: int) -> None:
        """Forget windows that every zone has taken."""
        self.windows = [window for window in self.windows if window.end_ns > mono_ns]
