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


def full_pod(name: str, node: str = NODE) -> dict[str, Any]:
    """A pod with all that the API server keeps of one, of the usual size: some 9 KB."""
    found = pod(name, node=node)
    container = found["spec"]["containers"][0]
    mount = {"name": "kube-api-access-x7k2p", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io"}
    container |= {
        "env": [{"name": f"SETTING_{number}", "value": f"value of number {number}"} for number in range(20)],
        "volumeMounts": [mount | {"name": f"volume-{number}"} for number in range(4)],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
            "periodSeconds": 10,
        },
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
    found["spec"] |= {
        "volumes": [
            {"name": f"volume-{number}", "configMap": {"name": f"settings-{number}"}} for number in range(4)
        ],
        "tolerations": [
            {"key": f"node.kubernetes.io/{kind}", "operator": "Exists", "effect": "NoExecute"}
            for kind in ("not-ready", "unreachable", "disk-pressure", "memory-pressure")
        ],
        "serviceAccountName": "default",
        "schedulerName": "default-scheduler",
        "restartPolicy": "Always",
    }
    found["status"] |= {
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-11-30T10:00:00Z",
            }
            for kind in (
                "PodReadyToStartContainers",
                "Initialized",
                "Ready",
                "ContainersReady",
                "PodScheduled",
            )
        ],
        "hostIP": "10.0.0.7",
        "podIP": "10.244.0.9",
        "podIPs": [{"ip": "10.244.0.9"}],
        "startTime": "2026-11-30T09:59:58Z",
    }
    found["metadata"]["managedFields"] = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-30T10:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": _fields(container)},
        }
        for manager in ("kube-controller-manager", "kubelet")
    ]
    return found


def _fields(found: Any) -> Any:
    """The names of all fields, as managedFields has them."""
    if isinstance(found, dict):
        return {f"f:{name}": _fields(value) for name, value in found.items()}
    if isinstance(found, list):
        return {f'k:{{"name":"{number}"}}': _fields(one) for number, one in enumerate(found)}
    return {}
