# SPDX-License-Identifier: Apache-2.0
"""Who each generation is, as columns want it. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD
from wattline.wire.names import safe_name

from . import layout

_NS_PER_S = 1_000_000_000
ValueT = TypeVar("ValueT")
Record = tuple[int, int, int, int, bytes]  # as layout.IDENTITY has it


class _Column(dict[int, ValueT]):
    """By generation; a default for those the kernel had no room to record."""

    def __init__(self, default: ValueT) -> None:
        super().__init__()
        self._default = default

    def __missing__(self, generation: int) -> ValueT:
        return self._default


@dataclass
class Identities:
    """The identities table of the kernel, taken over row by row where it has changed.

    `ended_ns`: CLOCK_MONOTONIC, of those who have ended. `leaving`: whose leader has exited. `unseen`: the
    living whose birth the kernel did not tell, so that their start is only an upper bound.
    """

    ticks_per_s: int
    ended_ns: dict[int, int] = field(default_factory=dict)
    leaving: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)
    start_ticks: _Column[int] = field(default_factory=lambda: _Column(0))
    flags: _Column[int] = field(default_factory=lambda: _Column(0))
    comm: _Column[str] = field(default_factory=lambda: _Column(""))
    _raw: dict[int, bytes] = field(default_factory=dict)
    _taken: tuple[bytes, bytes] = (b"", b"")

    def take(self, keys: memoryview, values: memoryview) -> None:
        """Become what the table holds now: generations and their records, row after row."""
        taken = (keys.tobytes(), values.tobytes())
        if taken == self._taken:
            return
        self._taken = taken
        generations, size = keys.cast("I").tolist(), layout.IDENTITY.size
        for place, generation in enumerate(generations):
            raw = taken[1][place * size : (place + 1) * size]
            if self._raw.get(generation) != raw:
                self._raw[generation] = raw
                self._take_record(generation, layout.IDENTITY.unpack(raw))
        if len(self._raw) > len(generations):
            self._forget(self._raw.keys() - set(generations))

    def _take_record(self, generation: int, record: Record) -> None:
        start_boot_ns, ended_ns, _tgid, flags, comm = record
        for group in (self.leaving, self.unseen):
            group.discard(generation)
        if ended_ns:
            self.ended_ns[generation] = ended_ns
        else:
            self.ended_ns.pop(generation, None)
            if flags & layout.FLAG_LEADER_EXITED:
                self.leaving.add(generation)
            if flags & layout.FLAG_UNSEEN_BIRTH:
                self.unseen.add(generation)
        kernel = PROCESS_KERNEL_THREAD if flags & layout.FLAG_KERNEL_THREAD else 0
        self.flags[generation] = kernel | (PROCESS_ENDED if ended_ns else 0)
        self.start_ticks[generation] = start_boot_ns * self.ticks_per_s // _NS_PER_S
        self.comm[generation] = safe_name(comm)

    def _forget(self, generations: Iterable[int]) -> None:
        for generation in generations:
            for table in (self._raw, self.ended_ns, self.start_ticks, self.flags, self.comm):
                table.pop(generation, None)
            for group in (self.leaving, self.unseen):
                group.discard(generation)

    def __contains__(self, generation: int) -> bool:
        return generation in self._raw

    def record(self, generation: int) -> Record:
        """As the kernel has it: start (CLOCK_BOOTTIME), end (CLOCK_MONOTONIC; 0: alive), tgid, flags, comm."""
        record: Record = layout.IDENTITY.unpack(self._raw[generation])
        return record

    def living(self) -> list[int]:
        """Generations that have not ended."""
        return [generation for generation in self._raw if generation not in self.ended_ns]

    def ended_before(self, mono_ns: int) -> set[int]:
        """Generations that ended before a time."""
        return {generation for generation, ended_ns in self.ended_ns.items() if ended_ns < mono_ns}


@dataclass
class Rounds:
    """Goes through a changing crowd bit by bit, so that a whole round takes a number of turns."""

    turns: int
    _left: list[int] = field(default_factory=list)
    _share: int = 0

    def next(self, everybody: Callable[[], Sequence[int]]) -> list[int]:
        """Those whose turn it is; `everybody` is asked for when a new round begins."""
        if not self._left:
            self._left = list(everybody())
            self._share = -(-len(self._left) // self.turns)
        taken, self._left = self._left[: self._share], self._left[self._share :]
        return taken
