# SPDX-License-Identifier: Apache-2.0
"""A source of pods that asks in a thread of its own."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from wattline.wire.frames import SourceState

from .backoff import Backoff
from .errors import Failed
from .known_pods import KnownPods
from .pod import Pod
from .report import Report

_CLOSE_S = 0.8
_STEADY_S = 2.0  # what has worked for so long and then fails is a first failure, whatever was before


class Rounds(Protocol):
    """What the thread does again and again."""

    known: KnownPods
    has_told: bool

    def round(self) -> float:
        """Ask once. Seconds until the next round; below 0: as after a failure. Raises Failed."""

    def abort(self) -> None:
        """Make the request in progress, in another thread, fail, and all later ones."""

    def close(self) -> None:
        """Close connections, in the thread itself."""


class Worker:
    """The PodSource (pod.py) that rounds make."""

    def __init__(
        self,
        rounds: Rounds,
        report: Report,
        backoff: Backoff | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at once."""
        self._clock = clock
        self._rounds = rounds
        self._report = report
        self._backoff = backoff or Backoff(random.random)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubernetes", daemon=True)
        self._thread.start()

    def pods(self) -> Mapping[str, Pod]:
        """This node's pods by uid, as last told; the same object while nothing has changed."""
        return self._rounds.known.by_uid

    def has_told(self) -> bool:
        """Whether the whole list has been seen at least once."""
        return self._rounds.has_told

    def state(self) -> SourceState:
        """Up, or why not. Also writes the log."""
        return self._report.state()

    def close(self) -> None:
        """End the thread. A look-up of a host's name that hangs is left to end by itself."""
        self._stop.set()
        self._rounds.abort()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = self._clock()
            try:
                wait_s = self._rounds.round()
                if wait_s < 0:
                    wait_s = self._backoff.failed()
                else:
                    self._backoff.worked()
            except Failed as failed:
                if self._report.is_up and self._clock() - began_s >= _STEADY_S:
                    self._backoff.worked()
                wait_s = self._backoff.failed(failed.retry_after_s)
                self._fail(failed.event, failed.text)
            except Exception as error:  # noqa: BLE001 the thread must live on; the loop says what it was
                wait_s = self._backoff.failed()
                self._fail("kubernetes_failed", f"unexpected {type(error).__name__}")
            self._stop.wait(wait_s)
        with contextlib.suppress(Exception):  # it ends anyway
            self._rounds.close()

    def _fail(self, event: str, reason: str) -> None:
        if not self._stop.is_set():
            self._report.fails(event, reason)
