# SPDX-License-Identifier: Apache-2.0
"""The workload that a pod belongs to, by its owner's name and its own labels alone. Pure.

A pod names its controller only, not that one's own: a Deployment's pod names a ReplicaSet, a CronJob's a Job.
Their names are made from their owner's, which is shown only where that leaves no other reading.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

# A CronJob's Job is NAME-NUMBER. NUMBER is its schedule's time in minutes since 1970 (the controller of
# Kubernetes 1.21 and newer), before in seconds, of a schedule whose times are whole minutes.
# Source: kubernetes/pkg/controller/cronjob, utils.go, getJobName.
_OF_CRON_JOB = re.compile(r"(?P<name>.+)-(?P<number>[1-9][0-9]{7}|[1-9][0-9]{9})")
_SECONDS_DIGITS, _MINUTE_S = 10, 60
# How long before a pod its schedule's time may lie: its Job may have waited, been suspended or tried again.
# So neither a date (20260131, as minutes in the year 2008) nor a small number is taken for a time.
_BEFORE_S = 366 * 86_400
_CLOCKS_S = 300  # by which the clocks of the cluster's servers may differ


class Owner(NamedTuple):
    """An entry of metadata.ownerReferences."""

    kind: str
    name: str
    api_version: str = ""
    is_controller: bool = False


NONE = ("", "")


def workload(owners: Sequence[Owner], pod_template_hash: str, created: str) -> tuple[str, str]:
    """(kind, name); empty for a pod without a controller.

    `pod_template_hash`: the pod's label of that name; `created`: its creationTimestamp, in RFC 3339.
    """
    owner = next((one for one in owners if one.is_controller), None)
    if owner is None or not owner.kind or not owner.name:
        return NONE
    group = owner.api_version.rpartition("/")[0]
    if owner.kind == "ReplicaSet" and group in ("apps", "extensions"):
        name = owner.name.removesuffix(f"-{pod_template_hash}") if pod_template_hash else ""
        if name and name != owner.name:
            return "Deployment", name
    if owner.kind == "Job" and group == "batch":
        found = _OF_CRON_JOB.fullmatch(owner.name)
        if found is not None and _is_schedule(found["number"], _unix_s(created)):
            return "CronJob", found["name"]
    return owner.kind, owner.name


def _is_schedule(number: str, created_s: float | None) -> bool:
    """Whether a number is the time of a schedule that made a pod at that time."""
    if created_s is None:
        return False
    is_seconds = len(number) == _SECONDS_DIGITS
    if is_seconds and int(number) % _MINUTE_S:
        return False
    schedule_s = int(number) * (1 if is_seconds else _MINUTE_S)
    return created_s - _BEFORE_S <= schedule_s <= created_s + _CLOCKS_S


def _unix_s(text: str) -> float | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
