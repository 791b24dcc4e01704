# SPDX-License-Identifier: Apache-2.0
"""When to give up a mark that new readings contradict. Pure.

A reading that can't follow the last accepted one is rejected. But the accepted one may be the wrong one: then
all true readings would be rejected for ever. So some in a row that agree with each other win.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

AGREEING = 3  # a single wrong reading may be repeated once, as by a last frame that is read again

ReadingT = TypeVar("ReadingT")


@dataclass
class SecondLook(Generic[ReadingT]):
    """The newest rejected reading, and how many in a row up to it agree."""

    newest: ReadingT | None = None
    agreeing: int = 0

    def reject(self, reading: ReadingT, follows: Callable[[ReadingT, ReadingT], bool]) -> bool:
        """Note a rejected reading; True if it is to become the new mark, as the last of enough that agree.

        `follows(earlier, later)`: True if two rejected readings agree.
        """
        agrees = self.newest is not None and follows(self.newest, reading)
        self.agreeing = self.agreeing + 1 if agrees else 1
        self.newest = reading
        if self.agreeing < AGREEING:
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Forget them: a reading was accepted."""
        self.newest, self.agreeing = None, 0
