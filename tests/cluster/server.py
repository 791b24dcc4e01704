# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes API server and its etcd, on loopback: TLS, service accounts' tokens, RBAC. No kubelet."""

import contextlib
import json
import secrets
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Self

from tests.power.redfish.authority import Authority

from .client import Client
from .kept import Kept

_START_S = 60
_POLL_S = 0.05


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Cluster:
    """`with Cluster(programs(), directory) as cluster`: ready, with what it makes itself.

    `url`, `ca_file`; `admin`: a client that may do everything. What outlives the API server is etcd's.
    """

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory

    def __enter__(self) -> Self:
        authority = Authority(self._directory / "authority", "cluster")
        self.ca_file = authority.ca_file
        certificate, key = authority.certificate("127.0.0.1")
        port, self._etcd_port, peer_port = (_free_port() for _port in range(3))
        self.url = f"https://127.0.0.1:{port}"
        etcd_url, peer_url = (f"http://127.0.0.1:{one}" for one in (self._etcd_port, peer_port))
        accounts = self._directory / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(accounts), "2048"], check=True, capture_output=True)
        token = secrets.token_hex(16)
        tokens = self._directory / "tokens.csv"
        tokens.write_text(f'{token},admin,admin,"system:masters"\n', encoding="ascii")
        self.admin = Client(self.url, self.ca_file, token)
        self._etcd = Kept(
            self._directory / "etcd.log",
            str(self._programs / "etcd"),
            *("--data-dir", str(self._directory / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
            *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
            *("--initial-cluster", f"default={peer_url}"),
        )
        self._api = Kept(
            self._directory / "api.log",
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
            *("--insecure-port=0", f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={tokens}",
            *("--authorization-mode=RBAC", "--anonymous-auth=false", "--allow-privileged=true"),
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            # Nothing here makes the secrets that it would mount into pods.
            "--disable-admission-plugins=ServiceAccount",
        )
        try:
            self._etcd.start()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.admin.close()
        for kept in (self._api, self._etcd):
            with contextlib.suppress(BrokenPipeError):
                kept.stop()
            kept.close()

    @property
    def log(self) -> str:
        """The end of the API server's log."""
        return self._api.last_words()

    def start(self) -> None:
        """Start the API server, and wait until it is ready."""
        self._api.start()
        self.wait_ready()

    def stop(self) -> None:
        """End the API server as an administrator does."""
        self._api.stop()
        self.admin.close()

    def kill(self) -> None:
        """End the API server at once."""
        self._api.kill()
        self.admin.close()

    def start_later(self) -> None:
        """Start the API server, and don't wait."""
        self._api.start()

    def wait_ready(self) -> None:
        """Until it is ready, and has made its own namespaces and roles."""
        deadline_s = time.monotonic() + _START_S
        while not self._is_ready():
            assert time.monotonic() < deadline_s, self._api.last_words()
            time.sleep(_POLL_S)

    def compact(self) -> int:
        """Have etcd forget what was before; the revision up to which."""
        revision = int(self._etcd_asks("kv/range", {"key": "AA=="})["header"]["revision"])
        self._etcd_asks("kv/compaction", {"revision": revision, "physical": True})
        return revision

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            status, _words = self.admin.ask("GET", "/readyz")
            return status == 200 and self.admin.ask("GET", "/api/v1/namespaces/default")[0] == 200
        return False

    def _etcd_asks(self, path: str, body: dict) -> dict:
        """etcd's own API as JSON: etcd.io/docs/v3.4, "gRPC gateway"."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}/v3/{path}", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
