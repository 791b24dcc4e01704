# SPDX-License-Identifier: Apache-2.0
"""Windows of use that some meter has yet to cover. Pure.

Every zone advances on its own clock: at each reading it takes, in one go, all windows that end by then and
that it has not taken yet. A slow meter so gets its own long window, and delays nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .books import Row, Target

# Windows kept apart while a meter is silent; beyond that the oldest are joined.
_WINDOWS_MAX = 64


@dataclass
class Window:
    """Use between two times, by whom it will be charged to. `gap` says why nothing is known right before."""

    start_ns: int
    end_ns: int
    gap: str
    capacity_ns: int  # CPU time there was
    used_ns: dict[Target, int]

    @property
    def busy_ns(self) -> int:
        """CPU time used."""
        return sum(self.used_ns.values())


def joined(windows: Iterable[Window]) -> Window:
    """Adjoining windows as one."""
    first, *rest = windows
    used_ns = dict(first.used_ns)
    whole = Window(first.start_ns, first.end_ns, first.gap, first.capacity_ns, used_ns)
    for window in rest:
        whole.end_ns = window.end_ns
        whole.capacity_ns += window.capacity_ns
        for target, ns in window.used_ns.items():
            used_ns[target] = used_ns.get(target, 0) + ns
    # Who has left is charged through the container anyway: a meter that is silent for days must not make
    # us remember every process there was.
    for target in [target for target in used_ns if isinstance(target, Row) and target.left]:
        used_ns[target.container] = used_ns.get(target.container, 0) + used_ns.pop(target)
    return whole


@dataclass
class Timeline:
    """The windows, in time order."""

    windows: list[Window] = field(default_factory=list)

    def add(self, window: Window, watermarks_ns: Iterable[int]) -> None:
        """Append; and join old ones, if there are too many, where no zone stands on their common bound."""
        self.windows.append(window)
        if len(self.windows) <= _WINDOWS_MAX:
            return
        bounds = set(watermarks_ns)
        for index in range(len(self.windows) - 1):
            before, after = self.windows[index : index + 2]
            if before.end_ns == after.start_ns and before.end_ns not in bounds:
                self.windows[index : index + 2] = [joined((before, after))]
                return

    def runs(self, after_ns: int, until_ns: int) -> list[Window]:
        """Windows ending in (after, until], adjoining ones joined: what to attribute at a reading."""
        runs: list[list[Window]] = []
        for window in self.windows:
            if after_ns < window.end_ns <= until_ns:
                if runs and runs[-1][-1].end_ns == window.start_ns:
                    runs[-1].append(window)
                else:
                    runs.append([window])
        return [joined(run) if len(run) > 1 else run[0] for run in runs]

    def drop_until(self, mono_ns: int) -> None:
        """Forget windows that every zone has taken."""
        self.windows = [window for window in self.windows if window.end_ns > mono_ns]
