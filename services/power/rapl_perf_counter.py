# SPDX-License-Identifier: Apache-2.0
"""One zone's perf event as a counter of µJ, over changes of the CPU that it counts on."""

import time
from collections.abc import Callable
from typing import Protocol

from .channel import Sample
from .perf_event import Count, EndedError
from .rapl_perf_pmu import PmuEvent

# An event that has counted for less than the time that passed has missed energy. So much isn't stated, and so
# much of all time: the two clocks may differ by some parts in a million, and a reader may be interrupted
# between the clock and the count.
_MISSED_NS, _MISSED_PERCENT = 5_000_000, 1


class Event(Protocol):
    """An open event: perf_event.CpuEvent, or a test's."""

    def read(self) -> Count:
        """Return the count. Raises OSError or ValueError."""

    def close(self) -> None:
        """Close it."""


Open = Callable[[int, int, int], Event]  # (type of the PMU, config, CPU)


class PerfCounter:
    """Energy of one zone since its event was opened.

    The figure never falls while energy is counted without a break. After a break it begins again at 0, which
    a meter's account takes for a gap.
    """

    def __init__(self, open_event: Open, pmu_type: int, event: PmuEvent, cpu: int, base_uj: int) -> None:
        """Open the event. `base_uj`: the figure at that instant. Raises OSError."""
        self.event = event
        self.cpu = cpu
        self.is_closed = False
        self._open_event, self._pmu_type = open_event, pmu_type
        self._base_uj = base_uj
        self._has_break = False  # energy is missing since the last sample
        self._event: Event | None = None
        self._last_ns = self._last_running_ns = 0  # at the last reading of the count
        self._missed_ns = 0  # up to then, and not stated yet
        self._begin(cpu)
        self._first: Sample | None = Sample(self._last_ns, base_uj)

    @property
    def place(self) -> str:
        """Which event it is, for messages."""
        return f"perf event power/{self.event.name}/ on CPU {self.cpu}"

    def is_of(self, pmu_type: int, event: PmuEvent) -> bool:
        """Return True if it counts this event of a PMU with this type."""
        return (pmu_type, event) == (self._pmu_type, self.event)

    def has_counted(self) -> bool:
        """Return True once the count has left 0: before, there may be no meter behind the event.

        In a virtual machine the kernel may offer events whose registers don't exist: they read 0 for ever.
        Raises OSError or ValueError.
        """
        return self._event is not None and self._event.read().value > 0

    def read(self) -> Sample:
        """Return the energy so far, in µJ; at first that of the instant when the event was opened.

        Raises OSError or ValueError, also for a stretch in which the kernel didn't count all the time.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        at_ns, count, missed_ns = self._read()
        if missed_ns:
            self._has_break = True
            raise ValueError(
                f"the kernel counted for {missed_ns / 1e9:.3g} s less than the time that passed (the CPU "
                "went offline, or events share the PMU): energy since the last reading is not counted"
            )
        energy_uj = self._energy_uj(count)
        if self._has_break:
            self._base_uj -= energy_uj
            self._has_break, energy_uj = False, 0
        return Sample(at_ns, energy_uj)

    def follow(self, cpu: int) -> None:
        """Count on another CPU of the package, unless the kernel has moved the event there by itself.

        It does so for events of such PMUs when their CPU goes offline (kernel/events/core.c,
        perf_pmu_migrate_context). Raises OSError if the event can't be opened there.
        """
        if self.is_closed or (cpu == self.cpu and self._event is not None):
            return
        if self._event is not None and self._is_counting():
            return
        self.cpu = cpu
        self._end()
        self._begin(cpu)

    def close(self) -> None:
        """Close the event for good."""
        self._end()
        self.is_closed = True

    def _begin(self, cpu: int) -> None:
        before_ns = time.monotonic_ns()
        self._event = self._open_event(self._pmu_type, self.event.config, cpu)
        self._last_ns = (before_ns + time.monotonic_ns()) // 2
        self._last_running_ns = self._missed_ns = 0

    def _end(self) -> None:
        if self._event is not None:
            self._event.close()
            self._event, self._has_break = None, True

    def _read(self) -> tuple[int, Count, int]:
        """(time of the reading, count, time in which the event was not counted, if that is to be stated)."""
        if self._event is None:
            raise EndedError("the event is closed until its CPU, or another one of its package, is online")
        before_ns = time.monotonic_ns()
        try:
            count = self._event.read()
        except (OSError, ValueError):
            self._end()
            raise
        after_ns = time.monotonic_ns()
        at_ns = (before_ns + after_ns) // 2
        elapsed_ns = at_ns - self._last_ns
        missed_ns = elapsed_ns - (count.running_ns - self._last_running_ns)
        missed_ns = max(0, self._missed_ns + missed_ns - elapsed_ns * _MISSED_PERCENT // 100)
        self._last_ns, self._last_running_ns = at_ns, count.running_ns
        is_stated = missed_ns > _MISSED_NS + after_ns - before_ns
        self._missed_ns = 0 if is_stated else missed_ns
        return at_ns, count, missed_ns if is_stated else 0

    def _is_counting(self) -> bool:
        try:
            _at_ns, _count, missed_ns = self._read()
        except (OSError, ValueError):
            return False
        self._has_break = self._has_break or missed_ns > 0
        return not missed_ns

    def _energy_uj(self, count: Count) -> int:
        ratio = self.event.uj_per_count
        return self._base_uj + count.value * ratio.numerator // ratio.denominator
