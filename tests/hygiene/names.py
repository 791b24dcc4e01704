# SPDX-License-Identifier: Apache-2.0
"""Names on the machine that no other test run has; traces.py knows them for ours."""

import os
import time


def own_name(prefix: str = "wattline-test") -> str:
    """A new name with this process's id in it."""
    return f"{prefix}-{os.getpid()}-{time.monotonic_ns()}"
