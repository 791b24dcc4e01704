# SPDX-License-Identifier: Apache-2.0
"""Standard output that never blocks its writer: a full pipe or a stopped terminal costs lines only."""

import contextlib
import os
import select
import threading
from collections import deque

_HELD_BYTES_MAX = 1024 * 1024  # about ten thousand lines, for a reader that pauses
_CLOSE_S = 1.0


class Output:
    """Lines for a file descriptor, written by a thread.

    The descriptor stays in blocking mode, because the shell and other programs share its file description.
    Lines that find the buffer full are dropped, and their number is printed where they are missing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write in a thread from now on. Until then, lines are written at once, or held."""
        self._thread = threading.Thread(target=self._write_all, name="output", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        """Print a line."""
        line = f"{text}\n".encode("utf-8", "backslashreplace")
        if self._thread is None and not self._lines and select.select([], [self._descriptor], [], 0)[1]:
            self._write(line)
            return
        with self._changed:
            if self._held_bytes + len(line) > _HELD_BYTES_MAX:
                self._dropped += 1
                return
            if self._dropped:
                line = b"(%d lines are missing here: the output was not read)\n%s" % (self._dropped, line)
                self._dropped = 0
            self._lines.append(line)
            self._held_bytes += len(line)
            self._changed.notify()

    def close(self) -> None:
        """Write what is left, for a second at most."""
        if self._thread is None:
            return
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._lines and not self._is_closing:
                    self._changed.wait()
                if not self._lines:
                    return
                line = self._lines.popleft()
            self._write(line)
            with self._changed:  # counted until it is written: a line in a blocked write is held, too
                self._held_bytes -= len(line)

    def _write(self, line: bytes) -> None:
        # The reader may have gone; the services are to be stopped in order all the same.
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]
