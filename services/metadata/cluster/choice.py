# SPDX-License-Identifier: Apache-2.0
"""Which source of pods is in use, and what this node is called in the cluster."""

import re
from collections.abc import Mapping
from pathlib import Path

OFF, AUTO, API, KUBELET, KUBELET_LEGACY = "off", "auto", "api", "kubelet", "kubelet-legacy"
CHOICES = (AUTO, OFF, API, KUBELET, KUBELET_LEGACY)
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST_VARIABLE, NODE_VARIABLE = "KUBERNETES_SERVICE_HOST", "NODE_NAME"
# A DNS subdomain: Kubernetes, "Object Names and IDs".
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def is_node_name(name: str) -> bool:
    """Whether a node of a cluster can have this name."""
    return _NODE_NAME.fullmatch(name) is not None


def check_node(name: str) -> None:
    """Raise ValueError for what can't be a node's name."""
    if name and not is_node_name(name):
        raise ValueError("a node's name has lower-case letters, digits, '-' and '.'")


def is_in_cluster(environ: Mapping[str, str], account: Path) -> bool:
    """Whether this process is in a pod with a service account."""
    return bool(environ.get(HOST_VARIABLE)) and (account / "token").exists()


def choose(wanted: str, kubeconfig: str, environ: Mapping[str, str], account: Path) -> str:
    """The source in use. `auto` is the API server in a cluster or with a kubeconfig, else none."""
    if wanted != AUTO:
        return wanted
    return API if kubeconfig or is_in_cluster(environ, account) else OFF


def node_name(given: str, node: str, environ: Mapping[str, str]) -> str:
    """The node's name in the cluster: `given`, else what the pod's manifest hands in, else `node`."""
    return given or environ.get(NODE_VARIABLE) or node
