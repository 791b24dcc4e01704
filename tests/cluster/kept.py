# SPDX-License-Identifier: Apache-2.0
"""A program that a whole test session shares, and any test may end and start (keeper.py)."""

import subprocess
import sys
from pathlib import Path


class Kept:
    """`close` ends it for good."""

    def __init__(self, log: Path, *command: str) -> None:
        self.log = log
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.keeper", str(log), *command],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        """Start it; what was running is not waited for."""
        self._tell("start")

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._tell("stop")

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._tell("kill")

    def close(self) -> None:
        """End it and its keeper."""
        self._keeper.stdin.close()
        self._keeper.wait(30)
        self._keeper.stdout.close()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-3000:].decode("utf-8", "replace")

    def _tell(self, word: str) -> None:
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        assert self._keeper.stdout.readline() == f"{word}\n", self.last_words()
