# SPDX-License-Identifier: Apache-2.0
"""What a hardware counter would have shown had it counted all the time. Pure."""


def scaled_count(count: int, enabled_ns: int, running_ns: int) -> int | None:
    """An estimate of all events of a window, from those seen while the counter had its turn.

    All three are differences of one row's cumulative columns over the same window, and are scaled before
    windows are summed: scaled totals would fall when the share of running time rises. None: the counter
    never had its turn in a window in which it was wanted, so nothing is known.
    Source: perf_event_open(2), "multiplexing".
    """
    if running_ns == 0:
        return 0 if enabled_ns == 0 else None
    return count * enabled_ns // running_ns
