# SPDX-License-Identifier: Apache-2.0
"""As much of a pod as the tests of its sources look at."""

from collections.abc import Mapping
from typing import Any

from services.metadata.cluster.pod import Pod, PodContainer


def read_pod(found: Mapping[str, Any]) -> Pod:
    """As much of a pod as these tests look at."""
    metadata = found.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("uid") or not metadata.get("name"):
        raise ValueError("expected a pod with a name and a uid")
    statuses = found.get("status", {}).get("containerStatuses", [])
    containers = tuple(
        PodContainer(one["name"], container_ids=(one["containerID"].rpartition("/")[2],)) for one in statuses
    )
    return Pod(
        metadata["uid"],
        metadata["uid"],
        metadata["name"],
        metadata.get("namespace", ""),
        containers=containers,
    )
