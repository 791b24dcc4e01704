# SPDX-License-Identifier: Apache-2.0
"""A service account with rights that can be taken away, and tokens that can be replaced."""

import base64
import json
import os
from pathlib import Path

from .client import Client

_NAMESPACE = "/api/v1/namespaces/default"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TOKEN_S = 3600
# What Wattline asks for: docs/kubernetes.md.
RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
]


class Account:
    """One service account in namespace default; it has its rights at once, and no token yet.

    Each token is bound to a secret of its own, whose removal ends it (within 10 s: the server remembers that
    a token was good for so long).
    """

    def __init__(self, admin: Client, name: str, rules=RULES) -> None:
        self.name = name
        self._admin = admin
        self._rules = rules
        self._tokens = 0
        admin.post(f"{_NAMESPACE}/serviceaccounts", {"metadata": {"name": name}})
        self.give_rights()

    def remove(self) -> None:
        """The account, its rights and its tokens."""
        self.take_rights()
        self._admin.delete(f"{_NAMESPACE}/serviceaccounts/{self.name}")

    def give_rights(self) -> None:
        """In the whole cluster."""
        self._admin.post(
            f"{_RBAC}/clusterroles",
            {"metadata": {"name": self.name}, "rules": self._rules},
        )
        self._admin.post(
            f"{_RBAC}/clusterrolebindings",
            {
                "metadata": {"name": self.name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": self.name,
                },
                "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": "default"}],
            },
        )

    def take_rights(self) -> None:
        """All of them."""
        for kind in ("clusterrolebindings", "clusterroles"):
            self._admin.delete(f"{_RBAC}/{kind}/{self.name}")

    def token(self) -> str:
        """A new token."""
        self._tokens += 1
        secret = self._admin.post(f"{_NAMESPACE}/secrets", {"metadata": {"name": self._secret()}})
        bound = {
            "apiVersion": "v1",
            "kind": "Secret",
            "name": self._secret(),
            "uid": secret["metadata"]["uid"],
        }
        request = {"spec": {"expirationSeconds": _TOKEN_S, "boundObjectRef": bound}}
        answer = self._admin.post(f"{_NAMESPACE}/serviceaccounts/{self.name}/token", request)
        return answer["status"]["token"]

    def end_token(self) -> None:
        """Of the newest token."""
        self._admin.delete(f"{_NAMESPACE}/secrets/{self._secret()}")

    def _secret(self) -> str:
        return f"{self.name}-token-{self._tokens}"


def write_kubeconfig(path: Path, url: str, ca_file: Path, token: str) -> None:
    """A kubeconfig with this token, in JSON, which is YAML; replaces an earlier one as a whole."""
    authorities = base64.b64encode(ca_file.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": authorities}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(config), encoding="ascii")
    new.chmod(0o644)
    os.replace(new, path)  # noqa: PTH105 as a kubelet does it


def write_service_account(directory: Path, ca_file: Path, token: str) -> None:
    """What a kubelet mounts into a pod: ca.crt and token; replaces an earlier token as a whole."""
    directory.mkdir(exist_ok=True)
    (directory / "ca.crt").write_bytes(ca_file.read_bytes())
    new = directory / "token.new"
    new.write_text(token, encoding="ascii")
    os.replace(new, directory / "token")  # noqa: PTH105
