# SPDX-License-Identifier: Apache-2.0
"""Objects as the API server has them, as far as they matter here, and of about their size."""

import hashlib
from typing import Any

NODE = "n7"


def pod(name: str, uid: str = "", node: str = NODE, *, restarts: int = 0, filling: int = 0) -> dict[str, Any]:
    """A running pod with one container. `filling`: bytes of an annotation."""
    uid = uid or uid_of(name)
    container_id = hashlib.sha256(f"{uid}{restarts}".encode()).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "labels": {"app": name.partition("-")[0], "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"example.com/filling": "x" * filling} if filling else {},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "controller": True}
            ],
        },
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "main", "image": "shop/web:1", "resources": {"requests": {"cpu": "250m"}}}
            ],
        },
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "containerStatuses": [
                {
                    "name": "main",
                    "containerID": f"containerd://{container_id}",
                    "restartCount": restarts,
                    "state": {"running": {"startedAt": "2026-11-30T10:00:00Z"}},
                }
            ],
        },
    }


def uid_of(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
