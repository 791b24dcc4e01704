# SPDX-License-Identifier: Apache-2.0
"""A node and its pods in the API, with a kubelet's part played by the test."""

import itertools
from collections.abc import Sequence
from typing import Self

from . import objects
from .client import ApiError, Client

_PODS = "/api/v1/namespaces/{namespace}/pods"
_numbers = itertools.count(1)


class Node:
    """`with Node(admin) as node`. `name`: its own for each, if none is given."""

    def __init__(self, admin: Client, name: str = "") -> None:
        self._admin = admin
        self.name = name or f"node-{next(_numbers)}"

    def __enter__(self) -> Self:
        self._admin.post("/api/v1/nodes", objects.node(self.name))
        return self

    def __exit__(self, *_exception: object) -> None:
        for pod in self.pods():
            self.remove_pod(pod)
        self._admin.delete(f"/api/v1/nodes/{self.name}")

    def pods(self) -> list[dict]:
        """As the API has them."""
        found = self._admin.get("/api/v1/pods", fieldSelector=f"spec.nodeName={self.name}")
        return found["items"]

    def add_pod(self, name: str, *containers: dict, namespace: str = "default", **fields) -> dict:
        """A pod that is bound here, as the API has made it; its containers have not begun."""
        new = objects.pod(name, self.name, containers or (objects.container("work"),), **fields)
        return self._admin.post(_PODS.format(namespace=namespace), new)

    def tell(self, pod: dict, containers: Sequence[dict], init: Sequence[dict] = (), **others) -> dict:
        """A kubelet's report of a pod's containers."""
        return self._admin.patch(f"{_path(pod)}/status", objects.statuses(containers, init, **others))

    def remove_pod(self, pod: dict) -> None:
        """At once, without a grace time."""
        try:
            self._admin.delete(_path(pod))
        except ApiError as error:
            if error.status != 404:
                raise

    def add_namespace(self, name: str) -> None:
        """If there is none; it stays."""
        try:
            self._admin.post("/api/v1/namespaces", {"metadata": {"name": name}})
        except ApiError as error:
            if error.status != 409:
                raise


def uid(pod: dict) -> str:
    """The API's."""
    return pod["metadata"]["uid"]


def _path(pod: dict) -> str:
    metadata = pod["metadata"]
    return f"{_PODS.format(namespace=metadata['namespace'])}/{metadata['name']}"
