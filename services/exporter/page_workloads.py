# SPDX-License-Identifier: Apache-2.0
"""The containers and pods that used most, by their names, for the page at `/`. Pure."""

from collections import Counter
from collections.abc import Iterator

from wattline.wire.frames import Energy

from .workloads import NOT_CONTAINERS, container_names, pod_names
from .zones import SUMMED_ZONES

ROWS_MAX = 50


def pods(energy: Energy) -> Iterator[tuple[str, ...]]:
    """(namespace, name, workload, joules): those of most energy first, at most ROWS_MAX."""
    table, names = energy.pods, pod_names(energy)
    owners = zip(table.owner_kind, table.owner_name, strict=False)
    owner_of = {uid: " ".join(owner).strip() for uid, owner in zip(table.pod_uid, owners, strict=False)}
    used_uj = Counter[str]()
    for uid, energy_uj in zip(energy.containers.pod_uid, _used_uj(energy), strict=True):
        if uid:
            used_uj[uid] += energy_uj
    for uid, energy_uj in used_uj.most_common(ROWS_MAX):
        name, namespace = names.get(uid, ("", ""))
        yield namespace, name or uid, owner_of.get(uid, ""), _joules(energy_uj)


def containers(energy: Energy) -> Iterator[tuple[str, ...]]:
    """(name, kind, pod, joules), likewise; a container without a name has its id."""
    table, of_pods = energy.containers, pod_names(energy)
    kinds = table.kind or [""] * len(table)
    called: dict[str, tuple[str, str, str]] = {}
    used_uj = Counter[str]()
    rows = zip(
        table.container_id, container_names(table), kinds, table.pod_uid, _used_uj(energy), strict=True
    )
    for container_id, name, kind, uid, energy_uj in rows:
        if container_id not in NOT_CONTAINERS:
            pod_name, namespace = of_pods.get(uid, ("", ""))
            pod = f"{namespace}/{pod_name}" if pod_name else uid
            called[container_id] = (name or container_id, kind, pod)
            used_uj[container_id] += energy_uj
    for container_id, energy_uj in used_uj.most_common(ROWS_MAX):
        yield *called[container_id], _joules(energy_uj)


def _used_uj(energy: Energy) -> list[int]:
    """Energy of each row of containers in the zones that add up, both modes."""
    table = energy.containers
    zone_rows = [row for row, zone in enumerate(energy.zones.zone) if zone in SUMMED_ZONES]
    columns = [columns[row] for row in zone_rows for columns in (table.dynamic_uj, table.idle_uj)]
    return [sum(values) for values in zip(*columns, strict=True)] if columns else [0] * len(table)


def _joules(energy_uj: int) -> str:
    return f"{energy_uj / 1e6:.1f} J"
