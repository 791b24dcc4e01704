# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as the API takes them: nodes, pods, and what a kubelet says of a pod. Pure."""

from collections.abc import Mapping, Sequence

_IMAGE = "example.org/work:1"
_BEGAN = "2026-01-01T00:00:00Z"


def node(name: str) -> dict:
    """A node, of which nothing is known."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def container(name: str, cpu_request: str = "", **fields) -> dict:
    """`cpu_request`: as 250m; empty: none."""
    requests = {"resources": {"requests": {"cpu": cpu_request}}} if cpu_request else {}
    return {"name": name, "image": _IMAGE, **requests, **fields}


def pod(
    name: str,
    node_name: str,
    containers: Sequence[dict] = (container("work"),),
    *,
    init: Sequence[dict] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: tuple[str, str] | None = None,
) -> dict:
    """A pod that is bound to a node. `owner`: (kind, name) of its controller."""
    metadata: dict = {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
    if owner is not None:
        kind, owner_name = owner
        group = {"ReplicaSet": "apps/v1", "DaemonSet": "apps/v1", "StatefulSet": "apps/v1", "Job": "batch/v1"}
        metadata["ownerReferences"] = [
            {
                "apiVersion": group.get(kind, "v1"),
                "kind": kind,
                "name": owner_name,
                "uid": "00000000-0000-0000-0000-000000000001",
                "controller": True,
            }
        ]
    spec = {"nodeName": node_name, "containers": list(containers)}
    if init:
        spec["initContainers"] = list(init)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def running(name: str, container_id: str, restarts: int = 0, before: str = "") -> dict:
    """A container that runs. `before`: the id that it had before its last restart."""
    last = {"terminated": _ended(before)} if before else {}
    return _status(name, container_id, {"running": {"startedAt": _BEGAN}}, restarts) | {"lastState": last}


def ended(name: str, container_id: str) -> dict:
    """A container that has run to its end."""
    return _status(name, container_id, {"terminated": _ended(container_id)}, 0)


def waiting(name: str) -> dict:
    """A container that has not begun."""
    return _status(name, "", {"waiting": {"reason": "ContainerCreating"}}, 0)


def statuses(
    containers: Sequence[dict], init: Sequence[dict] = (), phase: str = "Running", **others: Sequence[dict]
) -> dict:
    """A patch of a pod's status, as its kubelet sends it."""
    status = {"phase": phase, "containerStatuses": list(containers)}
    if init:
        status["initContainerStatuses"] = list(init)
    return {"status": status | others}


def _status(name: str, container_id: str, state: dict, restarts: int) -> dict:
    return {
        "name": name,
        "image": _IMAGE,
        "imageID": "",
        "ready": "running" in state,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        **({"containerID": f"containerd://{container_id}"} if container_id else {}),
    }


def _ended(container_id: str) -> dict:
    return {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": _BEGAN,
        "finishedAt": _BEGAN,
        "containerID": f"containerd://{container_id}",
    }
