# SPDX-License-Identifier: Apache-2.0
"""The server to ask, with its certificate's authorities and a token, each as it is now."""

import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wattline.bounded_tls import Trust, tls_context

from .address import is_loopback, split_address, url_of
from .errors import Failed
from .package import Identity, forget_files, of_kubeconfig, of_service_account

_FRESH_S = 60.0  # for so long a kubeconfig that is unchanged counts; it may name other files


@dataclass(frozen=True)
class Server:
    """Where to ask, and how.

    `what`: the server in words. `account`: whose token it is. `unverified`: what is to be said if its
    certificate isn't verified.
    """

    what: str
    host: str
    port: int
    server_name: str
    authorization: str
    context: ssl.SSLContext
    account: str
    tls_cure: str
    unverified: str = ""

    @property
    def url(self) -> str:
        """Without a path."""
        return url_of(self.host, self.port)


class ServiceAccount:
    """A pod's own identity, read anew each time: its token is replaced every hour or so."""

    name = "the service account"

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self._trust = Trust(
            str(directory / "ca.crt"), verify=True, setting="the service account's", failed=Failed
        )

    def read(self) -> tuple[Identity, ssl.SSLContext]:
        """(who asks, which certificates are accepted). Raises Failed."""
        return of_service_account(self._directory, self._environ), self._trust.context()


class Kubeconfig:
    """An identity from a kubeconfig, read anew when that changes and each minute."""

    name = "the kubeconfig's user"

    def __init__(self, path: Path, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`directory`: one that the service may write to; inline certificates are there for a moment."""
        self._path = path
        self._directory = directory
        self._clock = clock
        self._read: tuple[tuple[int, ...], float, Identity, ssl.SSLContext] | None = None

    def read(self) -> tuple[Identity, ssl.SSLContext]:
        """(who asks, which certificates are accepted). Raises Failed."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise Failed(f"kubernetes.kubeconfig {self._path}: {error.strerror}") from None
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._read is None or self._read[0] != version or self._clock() - self._read[1] > _FRESH_S:
            self._read = version, self._clock(), *self._load()
        return self._read[2], self._read[3]

    def _load(self) -> tuple[Identity, ssl.SSLContext]:
        try:
            with contextlib.ExitStack() as stack:
                made = tempfile.TemporaryDirectory(prefix=".kubeconfig-", dir=self._directory)
                scratch = stack.enter_context(made)
                stack.callback(forget_files)
                identity = of_kubeconfig(self._path, Path(scratch))
                context = tls_context(identity.ca_file, verify=identity.verify)
                if identity.certificate[0]:
                    context.load_cert_chain(*identity.certificate)
        except OSError as error:
            words = "its certificates can't be used" if isinstance(error, ssl.SSLError) else error.strerror
            raise Failed(f"kubernetes.kubeconfig {self._path}: {words}") from None
        return identity, context


def identity_of(
    kubeconfig: str, directory: Path, account: Path, environ: Mapping[str, str]
) -> ServiceAccount | Kubeconfig:
    """Who asks: a kubeconfig's user if there is one, else the pod's service account."""
    return Kubeconfig(Path(kubeconfig), directory) if kubeconfig else ServiceAccount(account, environ)


class ApiServer:
    """How the API server is reached."""

    def __init__(self, identity: ServiceAccount | Kubeconfig) -> None:
        self._identity = identity

    def server(self) -> Server:
        """As it is now. Raises Failed."""
        identity, context = self._identity.read()
        try:
            host, port = split_address(identity.url)
        except ValueError as error:
            raise Failed(f"the API server's address: expected https://HOST[:PORT]: {error}") from None
        unverified = (
            "" if identity.verify else "the kubeconfig turns off verification of the API server's certificate"
        )
        return Server(
            what="the API server",
            host=host,
            port=port,
            server_name=identity.server_name or host,
            authorization=identity.authorization,
            context=context,
            account=self._identity.name,
            tls_cure="compare the authorities in the service account's ca.crt or in the kubeconfig",
            unverified=unverified,
        )


class Kubelet:
    """How this node's kubelet is reached."""

    def __init__(
        self, identity: ServiceAccount | Kubeconfig, address: str, node: str, ca_file: str, *, verify: bool
    ) -> None:
        """`node`: for whom a kubelet on this machine's own address has a certificate."""
        self._identity = identity
        self._host, self._port = split_address(address)
        self._server_name = node if is_loopback(self._host) else self._host
        self._verify = verify
        self._trust: Trust | None = None
        if ca_file or not verify:
            self._trust = Trust(ca_file, verify=verify, setting="kubernetes.kubelet-ca-file", failed=Failed)

    def server(self) -> Server:
        """As it is now. Raises Failed."""
        identity, context = self._identity.read()
        if self._trust is not None:
            context = self._trust.context()
            if identity.certificate[0]:
                raise Failed(
                    "the kubeconfig's user has a client certificate, which can't be used with "
                    "kubernetes.kubelet-ca-file or kubernetes.kubelet-verify=false: use a user with a token"
                )
        unverified = ""
        if not self._verify:
            unverified = "the kubelet's certificate isn't verified (kubernetes.kubelet-verify)"
        elif self._trust is None and not identity.verify:
            unverified = (
                "the kubeconfig turns off verification of the kubelet's certificate, too: set "
                "kubernetes.kubelet-ca-file"
            )
        return Server(
            what="the kubelet",
            host=self._host,
            port=self._port,
            server_name=self._server_name,
            authorization=identity.authorization,
            context=context,
            account=self._identity.name,
            tls_cure="set kubernetes.kubelet-ca-file to the authority that signed it for "
            f"{self._server_name}",
            unverified=unverified,
        )
