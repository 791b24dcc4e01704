# SPDX-License-Identifier: Apache-2.0
"""What a source's thread has to say to metadata's loop: whether it works, and events for the log."""

from collections import deque

from wattline.log import Log
from wattline.wire.frames import SourceState

from .callbacks import Count

SOURCE = "kubernetes"
NO_ANSWER_YET = "no answer yet"
_NOTES_MAX = 64


class Report:
    """Written by the thread, in single steps; read by the loop, which alone logs and counts."""

    def __init__(self, log: Log, count: Count) -> None:
        self._log = log
        self._count = count
        self._state = SourceState(name=SOURCE, up=False, reason=NO_ANSWER_YET)
        self._notes: deque[tuple[str, str, bool]] = deque(maxlen=_NOTES_MAX)

    @property
    def is_up(self) -> bool:
        """Whether the newest news were good."""
        return self._state.up

    def works(self, remark: str = "") -> None:
        """The source is up. `remark`: what is to be said all the same."""
        before, self._state = self._state, SourceState(name=SOURCE, up=True, reason=remark)
        if not before.up and before.reason != NO_ANSWER_YET:
            self._notes.append(("kubernetes_back", "pods are known again", True))

    def fails(self, event: str, reason: str) -> None:
        """The source is down. Each time it is counted; the log drops repeats."""
        self._state = SourceState(name=SOURCE, up=False, reason=reason)
        self._notes.append((event, reason, False))

    def warn(self, event: str, cause: str) -> None:
        """Something that leaves the source up."""
        self._notes.append((event, cause, False))

    def state(self) -> SourceState:
        """As last told; writes what there is to be logged. Called by the loop."""
        while self._notes:
            event, cause, is_good = self._notes.popleft()
            if is_good:
                self._log.info(event, cause=cause)
            else:
                self._count(event, cause)
        return self._state
