# SPDX-License-Identifier: Apache-2.0
"""Structured log lines on standard output: time, level, service, event, then fields as key=value."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from .wire.names import safe_name

LEVELS = ("debug", "info", "warning", "error")
_REPEAT_S = 60.0  # an unchanged warning is printed once in this time, with how often it happened
_CAUSES_MAX = 1024  # remembered at a time: a cause may hold a stranger's name, so there is no end of them


@dataclass
class Log:
    """One service's log."""

    service: str
    level: str = "info"
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    now: Callable[[], float] = time.time
    _printed: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def debug(self, event: str, **fields: object) -> None:
        """What only a developer wants to see."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Start, stop and change of state; never once a tick."""
        self._write("info", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something ends or is lost."""
        self._write("error", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is worse than it should be. The same event and cause is printed once a minute."""
        key = (event, str(fields.get("cause", "")))
        now = self.now()
        # Taken out and put back in, so that the first one is the one not seen for the longest time.
        printed_s, unprinted = self._printed.pop(key, (float("-inf"), 0))
        if 0 <= now - printed_s < _REPEAT_S:  # below 0: the wall clock was set back
            self._printed[key] = (printed_s, unprinted + 1)
            return
        self._printed[key] = (now, 0)
        if len(self._printed) > _CAUSES_MAX:
            del self._printed[next(iter(self._printed))]
        if unprinted:
            fields["repeated"] = unprinted
        self._write("warning", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < LEVELS.index(self.level):
            return
        now = self.now()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        words = [stamp, level.upper(), self.service, event]
        words += [f"{name}={_value(value)}" for name, value in fields.items()]
        line = " ".join(words)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        # Whoever read the log has gone, or its disk is full; that is no reason to stop measuring.
        with contextlib.suppress(OSError, ValueError):
            print(line.encode(encoding, "backslashreplace").decode(encoding), file=self.stream, flush=True)


def _value(value: object) -> str:
    text = safe_name(str(value))
    if text and not any(character in ' "=' for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)
