# SPDX-License-Identifier: Apache-2.0
"""What a fuzzer of one decoder consists of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

Input = bytes | Mapping[str, bytes]  # a file or message; or files by their paths


class BrokenPromiseError(AssertionError):
    """The decoder accepted something, and what it made of it breaks its own promise."""


@dataclass(frozen=True)
class Decoder:
    """`decode` may raise `errors` and nothing else. `fixed` comes first, in each campaign."""

    make: Callable[[Random], Input]
    decode: Callable[[Input], None]
    errors: tuple[type[BaseException], ...] = ()
    fixed: Sequence[Callable[[], Input]] = field(default_factory=tuple)
    close: Callable[[], None] = lambda: None


def size_bytes(data: Input) -> int:
    """How much there is to read."""
    return len(data) if isinstance(data, bytes) else sum(len(path) + len(text) for path, text in data.items())
