# SPDX-License-Identifier: Apache-2.0
"""Who each generation is, as columns want it. Pure."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from wattline.wire.columns import U8, U64
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD
from wattline.wire.names import safe_name

from . import layout

_NS_PER_S = 1_000_000_000
Record = tuple[int, int, int, int, bytes]  # as layout.IDENTITY has it

# What the kernel's flags are on the wire, by the byte that holds them; an end is told by a time instead.
_WIRE_FLAGS = bytes(PROCESS_KERNEL_THREAD * bool(bits & layout.FLAG_KERNEL_THREAD) for bits in range(256))


class Identities:
    """The identities table of the kernel as columns, made anew when it has changed.

    A row beyond the last one stands for processes that the kernel had no room to record.
    """

    def __init__(self, ticks_per_s: int) -> None:
        self.ticks_per_s = ticks_per_s
        self._become([], b"")

    def take(self, keys: memoryview, values: memoryview) -> None:
        """Become what the table holds now: generations and their records, row after row."""
        raw, generations = values.tobytes(), keys.cast("I").tolist()
        if raw != self._raw or generations != self._generations:
            self._become(generations, raw)

    def _become(self, generations: list[int], raw: bytes) -> None:
        words, halves, size = memoryview(raw).cast("Q"), memoryview(raw).cast("I"), layout.IDENTITY.size
        self._raw, self._generations = raw, generations
        self._place = dict(zip(generations, range(len(generations)), strict=True))
        self._start_ticks = U64(ns * self.ticks_per_s // _NS_PER_S for ns in [*words[0 :: size // 8], 0])
        self._ended_ns = array("Q", [*words[1 :: size // 8], 0])
        self._flags = bytes(bits & 0xFF for bits in [*halves[5 :: size // 4], 0])
        self._comm = [safe_name(raw[end - 16 : end]) for end in range(size, len(raw) + 1, size)]
        self._comm.append("")

    def columns(self, generations: Iterable[int]) -> tuple[U64, U8, list[str]]:
        """(start ticks, flags as on the wire, names) of these, in their order."""
        nobody, place = len(self._generations), self._place.get
        places = [place(generation, nobody) for generation in generations]
        ended, flags = self._ended_ns, self._flags.translate(_WIRE_FLAGS)
        return (
            U64([self._start_ticks[at] for at in places]),
            U8([flags[at] | PROCESS_ENDED if ended[at] else flags[at] for at in places]),
            [self._comm[at] for at in places],
        )

    def __contains__(self, generation: int) -> bool:
        return generation in self._place

    def record(self, generation: int) -> Record:
        """(start by CLOCK_BOOTTIME, end by CLOCK_MONOTONIC or 0, tgid, flags, comm) as the kernel has it."""
        record: Record = layout.IDENTITY.unpack_from(
            self._raw, self._place[generation] * layout.IDENTITY.size
        )
        return record

    def living(self) -> list[int]:
        """Generations that have not ended."""
        return [generation for generation, ended_ns in self._with_ends() if not ended_ns]

    def living_flagged(self, flag: int) -> list[int]:
        """The living that the kernel has given a flag."""
        flagged = zip(self._generations, self._flags, self._ended_ns, strict=False)
        return [generation for generation, bits, ended_ns in flagged if bits & flag and not ended_ns]

    def ended_before(self, mono_ns: int) -> set[int]:
        """Generations that ended before a time (CLOCK_MONOTONIC)."""
        return {generation for generation, ended_ns in self._with_ends() if 0 < ended_ns < mono_ns}

    def _with_ends(self) -> Iterable[tuple[int, int]]:
        return zip(self._generations, self._ended_ns, strict=False)


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
