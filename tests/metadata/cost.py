# SPDX-License-Identifier: Apache-2.0
"""What a call costs, for tests of how cost grows."""

import time
from collections.abc import Callable


def least_s(call: Callable[[str], object], text: str) -> float:
    """Its least CPU time in a few attempts: what else the machine does only adds to it."""
    times = []
    for _attempt in range(3):
        begun_s = time.thread_time()
        call(text)
        times.append(time.thread_time() - begun_s)
    return min(times)
