# SPDX-License-Identifier: Apache-2.0
"""From raw counters to what shares go by: hardware counts are scaled to all of the time. Pure."""

import numpy as np

from .columns import Ints
from .timeline import Feature
from .usage import Lane

_COUNT_MAX = 2.0**52  # of one row in one window: a quarter of an hour of a thousand CPUs at 5 GHz
_NAMES = {"cpu_ns": "cpu_time", "frequency_cycles": "frequency"}


def features(dense: dict[Lane, Ints]) -> dict[Feature, Ints]:
    """Amounts by account, of the same window, for each feature on each socket."""
    found: dict[Feature, Ints] = {}
    for (name, socket), amounts in sorted(dense.items()):
        counter, _, field = name.partition(".")
        if not field:
            found[_NAMES[name], socket] = amounts
        elif field == "counts":
            enabled_ns = dense.get((f"{counter}.counts_enabled_ns", socket))
            running_ns = dense.get((f"{counter}.counts_running_ns", socket))
            if enabled_ns is not None and running_ns is not None:
                found[counter, socket] = scaled(amounts, enabled_ns, running_ns)
    return found


def scaled(counts: Ints, enabled_ns: Ints, running_ns: Ints) -> Ints:
    """What a counter would have shown had it counted all the time that it was wanted.

    A row for which it never had its turn is taken to have counted as fast as all the others together.
    Source: perf_event_open(2), "multiplexing".
    """
    if np.array_equal(enabled_ns, running_ns):
        return counts
    mean_per_ns = counts.sum() / max(1, running_ns.sum())
    per_ns = np.where(running_ns > 0, counts / np.maximum(running_ns, 1), mean_per_ns)
    return np.rint(np.minimum(per_ns * enabled_ns, _COUNT_MAX)).astype(np.int64)
