# SPDX-License-Identifier: Apache-2.0
"""Pods as objects of the API, for tests: as small as each needs them."""

from typing import Any

UID = "8f1c2d3e-4a5b-4c6d-8e7f-0123456789ab"
HASH = "0123456789abcdef" * 2
CREATED = "2026-03-01T10:00:05Z"
CREATED_MINUTES = 29539320  # the minute in which that is, since 1970


def ident(number: int) -> str:
    """A container's id."""
    return f"{number:064x}"


def spec_of(name: str, request: object = None, **more: Any) -> dict[str, Any]:
    """A container in a manifest, with its CPU request."""
    resources = {} if request is None else {"resources": {"requests": {"cpu": request}}}
    return {"name": name, "image": "registry.example/x", **resources, **more}


def status_of(name: str, number: int | None = None, **more: Any) -> dict[str, Any]:
    """A container's status, running if it has an id."""
    identity = {} if number is None else {"containerID": f"containerd://{ident(number)}"}
    return {"name": name, "restartCount": 0, **identity, **more}


def terminated(number: int) -> dict[str, Any]:
    """A state or lastState of a run that has ended."""
    return {"terminated": {"exitCode": 1, "containerID": f"containerd://{ident(number)}"}}


def pod_object(
    name: str = "web-1",
    uid: str = UID,
    *,
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod with one container, which has not been started."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "creationTimestamp": CREATED,
            **(metadata or {}),
        },
        "spec": {"nodeName": "n1", "containers": [spec_of("app")], **(spec or {})},
        "status": {"phase": "Pending", **(status or {})},
    }


def owned_by(kind: str, name: str, api_version: str, **labels: str) -> dict[str, Any]:
    """Metadata of a pod with a controller."""
    owner = {"apiVersion": api_version, "kind": kind, "name": name, "uid": "x", "controller": True}
    return {"ownerReferences": [owner], "labels": labels}
