# SPDX-License-Identifier: Apache-2.0
"""What rows hold that have no series yet, since a name of theirs is awaited. Pure.

With it the sums close in every scrape: node = containers + unattributed + what awaits a name.
"""

from collections.abc import Iterator, Sequence
from itertools import compress

from wattline.wire.frames import Energy

from .exposition import Family, label_text
from .gauges import gauge
from .workloads import shown_containers, shown_pods
from .zones import KEPLER_ZONES, rows_by_zone

_JOULE_DECIMALS = 6  # from µJ
_SECOND_DECIMALS = 9  # from ns


def families(energy: Energy, modes: Sequence[str]) -> Iterator[Family]:
    """Energy and CPU time, for both levels whose series have names."""
    containers = energy.containers
    columns_of = {"dynamic": containers.dynamic_uj, "idle": containers.idle_uj}
    hidden = {
        "container": [not shown for shown in shown_containers(energy)],
        "pod": [
            bool(pod_uid) and not shown
            for pod_uid, shown in zip(containers.pod_uid, shown_pods(energy), strict=True)
        ],
    }
    labels, values = [], []
    for zone in KEPLER_ZONES:
        zone_rows = [row for rows in rows_by_zone(energy.zones, zone).values() for row in rows]
        for mode in modes if zone_rows else ():
            for level, is_hidden in hidden.items():
                labels.append(label_text({"zone": zone, "mode": mode, "level": level}))
                values.append(sum(sum(compress(columns_of[mode][row], is_hidden)) for row in zone_rows))
    yield gauge(
        "wattline_awaiting_names_joules",
        "Energy in joules of containers or pods that have no series with names yet, since a name may come in "
        "a moment; it goes down when their series begin.",
        labels,
        values,
        _JOULE_DECIMALS,
    )
    yield gauge(
        "wattline_awaiting_names_cpu_seconds",
        "CPU time in seconds of containers or pods that have no series with names yet.",
        [label_text({"level": level}) for level in hidden],
        [sum(compress(containers.cpu_ns, is_hidden)) for is_hidden in hidden.values()],
        _SECOND_DECIMALS,
    )
