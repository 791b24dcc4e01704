# SPDX-License-Identifier: Apache-2.0
"""Names of run directories that a command makes for itself and removes at its end. Pure."""

from pathlib import Path

REPLAY_PREFIX = "wattline-replay-"
SELFTEST_PREFIX = "wl-selftest-"


def is_temporary(run: Path) -> bool:
    """True for the run directory of a replay or a self-test, which no other command works on unasked."""
    return run.name.startswith((REPLAY_PREFIX, SELFTEST_PREFIX))
