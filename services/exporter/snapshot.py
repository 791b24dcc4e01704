# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what scrapers see. One at a time, the same for all, changed at most once a second.

More often would tell too well what a process is doing from its joules (PLATYPUS, CVE-2020-8694).
"""

import gzip
import threading
import time
from collections.abc import Callable

from .inputs import Inputs

LEAST_AGE_NS = 1_000_000_000
_GZIP_LEVEL = 1  # measured on 10,000 processes: level 6 takes 2.3 times as long for 16 % fewer bytes

Render = Callable[[Inputs, int], bytes]


class Snapshot:
    """The text at one moment, made when somebody asks for it, once."""

    def __init__(self, inputs: Inputs, taken_ns: int, paced_ns: int, render: Render) -> None:
        self.inputs = inputs
        self.taken_ns = taken_ns
        self.paced_ns = paced_ns
        self._render = render
        self._text: bytes | None = None
        self._gzipped: bytes | None = None
        # Who comes second waits for the first one's text rather than making another.
        self._making = threading.RLock()

    def text(self) -> bytes:
        """The text of /metrics."""
        with self._making:
            if self._text is None:
                self._text = self._render(self.inputs, self.taken_ns)
            return self._text

    def gzipped(self) -> bytes:
        """The same text, compressed."""
        with self._making:
            if self._gzipped is None:
                self._gzipped = gzip.compress(self.text(), _GZIP_LEVEL, mtime=0)
            return self._gzipped


class Snapshots:
    """The current snapshot. The loop offers, the HTTP server's threads take; neither waits for the other."""

    def __init__(
        self,
        render: Render,
        now_ns: Callable[[], int] = time.monotonic_ns,
        pace_ns: Callable[[], int] | None = None,
    ) -> None:
        """`now_ns` is the time of the frames, `pace_ns` that by which snapshots change, if another."""
        self._render = render
        self._now_ns = now_ns
        self._pace_ns = now_ns if pace_ns is None else pace_ns
        self._newest = Inputs()
        self._current: Snapshot | None = None
        self._choosing = threading.Lock()

    @property
    def newest(self) -> Inputs:
        """What has come last, which may be newer than what scrapers see."""
        return self._newest

    def offer(self, inputs: Inputs) -> None:
        """Show this from the next scrape on that may see a change. Costs nothing until then."""
        self._newest = inputs

    def current(self) -> Snapshot:
        """What a scraper gets now."""
        with self._choosing:
            paced_ns = self._pace_ns()
            current = self._current
            if current is None or (
                self._newest is not current.inputs and paced_ns - current.paced_ns >= LEAST_AGE_NS
            ):
                current = self._current = Snapshot(self._newest, self._now_ns(), paced_ns, self._render)
            return current
