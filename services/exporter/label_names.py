# SPDX-License-Identifier: Apache-2.0
"""Names of Kubernetes' labels as Prometheus may have them. Pure.

The same names as kube-state-metrics gives them (version 2), so that dashboards need no others.
Source: kube-state-metrics, README, "Conflict resolution in label names"; internal/store/utils.go.
"""

import re
from collections.abc import Collection

_PREFIX = "label_"
_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_]")
_INNER_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def label_names(labels: Collection[str]) -> dict[str, str]:
    """Prometheus' name for each of a pod's labels: `example.org/partOf` is `label_example_org_part_of`.

    Where several become the same, each has `_conflict1`, `_conflict2`, … behind it, in the order of the
    labels. No two of the names are equal.
    """
    alike: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        alike.setdefault(_name(label), []).append(label)
    found = {same[0]: name for name, same in alike.items() if len(same) == 1}
    taken = set(alike)
    for name, same in alike.items():
        number = 0
        for label in same if len(same) > 1 else ():
            number += 1
            while f"{name}_conflict{number}" in taken:
                number += 1
            found[label] = f"{name}_conflict{number}"
            taken.add(found[label])
    return found


def _name(label: str) -> str:
    return _PREFIX + _INNER_CAPITAL.sub("_", _NOT_ALLOWED.sub("_", label)).lower()
