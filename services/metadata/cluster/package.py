# SPDX-License-Identifier: Apache-2.0
"""The package kubernetes: the only file that imports it, and what of it.

Its packages import all that they have when they are imported themselves: some 700 models of objects, the
client for each API group, websockets. None of these is used here, and a process would take far more memory
(measured: docs/kubernetes.md). So its modules are imported without their packages' own code: those that
find the cluster and know who asks, and the REST client.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import Failed

_PACKAGES = ("kubernetes", "kubernetes.client", "kubernetes.config")
NO_PACKAGE = "the package kubernetes isn't installed: pip install 'wattline[kubernetes]'"
_KUBECONFIG_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Identity:
    """A cluster's API server, and who asks it. Its text form shows no secret.

    `authorization`: the header's value, empty without a token. `certificate`: files of the client's
    certificate and key, empty without. `ca_file`: empty for the system's authorities.
    """

    url: str
    authorization: str
    ca_file: str
    certificate: tuple[str, str] = ("", "")
    server_name: str = ""
    verify: bool = True

    def __repr__(self) -> str:
        return f"Identity({self.url})"


def of_service_account(directory: Path, environ: Mapping[str, str]) -> Identity:
    """A pod's own, as it is now: the token and the authorities in its files. Raises Failed."""
    config, configuration = _loaded("incluster_config")
    loader = config.InClusterConfigLoader(
        str(directory / "token"), str(directory / "ca.crt"), environ=environ
    )
    try:
        loader.load_and_set(configuration)
    except config.ConfigException as error:
        raise Failed(f"the service account in {directory} can't be used: {error!s:.200}") from None
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        raise Failed(f"the service account in {directory} can't be read: {words}") from None
    return _identity(configuration)


def of_kubeconfig(path: Path, scratch: Path) -> Identity:
    """The current context of a kubeconfig. `scratch`: for certificates that it has inline. Raises Failed."""
    config, configuration = _loaded("kube_config")
    where = f"kubernetes.kubeconfig {path}"
    try:
        _require_small(path, where)
        merged = config.KubeConfigMerger(str(path)).config
        _refuse_programs(merged, where)
        loader = config.KubeConfigLoader(merged, config_base_path=None, temp_file_path=str(scratch))
        loader.load_and_set(configuration)
    except config.ConfigException as error:
        raise Failed(f"{where}: {error!s:.200}") from None
    except OSError as error:
        raise Failed(f"{where}: {error.strerror or type(error).__name__}") from None
    except Failed:
        raise
    except Exception as error:  # noqa: BLE001 YAML's errors show what is in the file, and others its shape
        raise Failed(
            f"{where}: expected a kubeconfig in YAML, got something else ({type(error).__name__})"
        ) from None
    return _identity(configuration)


def forget_files() -> None:
    """Remove and forget the files of inline certificates, which the package would keep to the end."""
    config = sys.modules.get("kubernetes.config.kube_config")
    if config is not None:
        config._cleanup_temp_files()  # noqa: SLF001 it has no other way


def pools() -> Any:
    """The REST client's connection pools, of urllib3. Raises Failed without the package."""
    _load()
    from kubernetes.client.configuration import Configuration  # noqa: PLC0415 an optional package, and heavy
    from kubernetes.client.rest import RESTClientObject  # noqa: PLC0415 likewise

    # urllib3 logs what a server has written.
    quiet = logging.getLogger("urllib3")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    return RESTClientObject(_plain(Configuration())).pool_manager


def _loaded(module: str) -> tuple[Any, Any]:
    """(a module of kubernetes.config, an empty configuration)."""
    _load()
    from kubernetes.client.configuration import Configuration  # noqa: PLC0415 an optional package, and heavy

    return importlib.import_module(f"kubernetes.config.{module}"), _plain(Configuration())


def _plain(configuration: Any) -> Any:
    """Without a proxy from the environment, which would get the token's connection."""
    configuration.proxy = None
    return configuration


def _load() -> None:
    """Make the packages known without running them; once."""
    if "kubernetes" in sys.modules:
        return
    if not _is_installed():
        raise Failed(NO_PACKAGE)
    try:
        for name in _PACKAGES:
            _make_bare(name)
        client = sys.modules["kubernetes.client"]
        client.Configuration = importlib.import_module("kubernetes.client.configuration").Configuration  # type: ignore[attr-defined]
        importlib.import_module("kubernetes.client.rest")
        client.ApiClient = object  # type: ignore[attr-defined] # for functions that aren't called here
    except (ImportError, AttributeError):
        # Another version may be laid out otherwise: then as a whole.
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
            del sys.modules[name]
        importlib.import_module("kubernetes")


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("kubernetes") is not None
    except ModuleNotFoundError:
        return False


def _make_bare(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _dot, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    return module


def _identity(configuration: Any) -> Identity:
    token = configuration.auth_settings().get("BearerToken", {}).get("value") or ""
    return Identity(
        url=configuration.host,
        authorization=token.strip(),
        ca_file=configuration.ssl_ca_cert or "",
        certificate=(configuration.cert_file or "", configuration.key_file or ""),
        server_name=configuration.tls_server_name or "",
        verify=bool(configuration.verify_ssl),
    )


def _require_small(path: Path, where: str) -> None:
    if path.stat().st_size > _KUBECONFIG_BYTES_MAX:
        raise Failed(f"{where}: expected at most {_KUBECONFIG_BYTES_MAX} bytes, got more")


def _refuse_programs(merged: Any, where: str) -> None:
    """A confined service runs no programs, which some clouds' kubeconfigs ask for a token."""
    context = merged["contexts"].get_with_name(merged["current-context"])["context"]
    user = merged["users"].get_with_name(context["user"])["user"]
    for kind in ("exec", "auth-provider"):
        if kind in user:
            raise Failed(
                f"{where}: its user gets a token from a program ({kind}), which a service may not run: make "
                "a kubeconfig with a service account's token (docs/kubernetes.md)"
            )
