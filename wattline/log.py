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
        printed_s, unprinted = self._printed.get(key, (float("-inf"), 0))
        if self.now() - printed_s < _REPEAT_S:
            self._printed[key] = (printed_s, unprinted + 1)
            return
        self._printed[key] = (self.now(), 0)
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
        # Whoever read the log has gone; that is no reason to stop measuring
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(" ".join(words), file=self.stream, flush=True)


def _value(value: object) -> str:
    text = safe_name(str(value))
    if text and not any(character in ' "=' for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)
