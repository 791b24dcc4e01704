# SPDX-License-Identifier: Apache-2.0
"""The time to wait after failures: a server that is back isn't asked by all nodes at once. Pure."""

from collections.abc import Callable

FIRST_S, LONGEST_S = 1.0, 30.0


class Backoff:
    """Waits of 1, 2, 4, … at most 30 s, each shortened by up to half by chance."""

    def __init__(
        self, chance: Callable[[], float], first_s: float = FIRST_S, longest_s: float = LONGEST_S
    ) -> None:
        """`chance`: returns a number from 0 to 1 at random."""
        self._chance = chance
        self._first_s = first_s
        self._longest_s = longest_s
        self._wait_s = 0.0

    def failed(self, asked_s: float = 0.0) -> float:
        """Seconds to wait after one more failure; `asked_s`: the least that the server asks for.

        From half of `first_s` to `longest_s`, whatever the server asks for.
        """
        self._wait_s = min(max(self._first_s, self._wait_s * 2), self._longest_s)
        wait_s = self._wait_s * (1 - self._chance() / 2)
        return min(max(wait_s, asked_s), self._longest_s)

    def worked(self) -> None:
        """Begin again with the shortest wait."""
        self._wait_s = 0.0
