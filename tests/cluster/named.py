# SPDX-License-Identifier: Apache-2.0
"""What scrapes and frames say of a container or pod. Pure, but for the newest frame."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from tests.pipeline.metrics import Series
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

ENERGY = "kepler_container_package_joules_total"


def container_labels(series: Sequence[Series], container_id: str) -> dict[str, str] | None:
    """Labels of its dynamic energy; None while it isn't shown."""
    found = [
        one.labels
        for one in series
        if one.name == ENERGY
        and one.labels["container_id"] == container_id
        and one.labels["mode"] == "dynamic"
    ]
    assert len(found) < 2, found
    return found[0] if found else None


def container_name(series: Sequence[Series], container_id: str) -> tuple[str, str, str] | None:
    """(namespace, pod, container), empty where there is no name; None while it isn't shown."""
    labels = container_labels(series, container_id)
    if labels is None:
        return None
    return labels["container_namespace"], labels["pod_name"], labels["container_name"]


def pod_labels(series: Sequence[Series], pod_uid: str) -> dict[str, str] | None:
    """Labels of its energy, by zone and mode apart; None while it isn't shown."""
    found = [
        {name: value for name, value in one.labels.items() if name not in ("zone", "mode")}
        for one in series
        if one.name == "wattline_pod_joules_total" and one.labels["pod_uid"] == pod_uid
    ]
    assert all(one == found[0] for one in found), found
    return found[0] if found else None


def joules(series: Sequence[Series], name: str, **labels: str) -> Decimal:
    """The sum of the series that have these labels."""
    found = (
        one.value
        for one in series
        if one.name == name and all(one.labels.get(label) == wanted for label, wanted in labels.items())
    )
    return sum(found, Decimal(0))


def pod_uj(run: Path, pod_uid: str) -> int:
    """What the calculator's newest frame has for a pod, of all zones: whether or not it has a name."""
    energy = read_last(ServiceDirectory(run, "calculator"))
    rows = [row for row, uid in enumerate(energy.containers.pod_uid) if uid == pod_uid]
    columns = (*energy.containers.dynamic_uj, *energy.containers.idle_uj)
    return sum(column[row] for column in columns for row in rows)


def source_state(series: Sequence[Series]) -> Decimal | None:
    """1 if the cluster answers, 0 if not; None where there is no such source."""
    found = [
        one.value
        for one in series
        if one.name == "wattline_source_up" and one.labels.get("source") == "kubernetes"
    ]
    return found[0] if found else None
