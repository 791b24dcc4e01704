# SPDX-License-Identifier: Apache-2.0
"""The source of pods that the settings ask for. How to set it up: docs/kubernetes.md."""

import importlib
import os
from collections.abc import Mapping
from socket import AF_INET, AF_INET6, AF_NETLINK
from typing import Any

from wattline.log import Log

from ..settings import MetadataSettings
from . import choice
from .callbacks import Count, ReadPod
from .pod import Pod, PodSource

# The last one: getaddrinfo sees by it which kinds of address there are.
FAMILIES = (AF_INET, AF_INET6, AF_NETLINK)


def in_use(settings: MetadataSettings) -> str:
    """`off`, `api`, `kubelet` or `kubelet-legacy`."""
    return choice.choose(
        settings.kubernetes, settings.kubernetes_kubeconfig, os.environ, choice.SERVICE_ACCOUNT
    )


def families(settings: MetadataSettings) -> tuple[int, ...]:
    """The families of sockets that the source in use needs."""
    return () if in_use(settings) == choice.OFF else FAMILIES


def open_source(
    settings: MetadataSettings,
    log: Log,
    count: Count,
    *,
    read_pod: ReadPod | None = None,
) -> PodSource | None:
    """The source in use, whose thread has begun; None if there is none. Waits for nothing.

    `log` and `count` (Runtime.count) are called in `state()` only. `read_pod`: makes a pod of its object.
    """
    way = in_use(settings)
    if way == choice.OFF:
        return None
    from .opening import opened  # noqa: PLC0415 TLS and HTTP would add 6 MB to every metadata

    read = read_pod or _with_labels(settings)
    return opened(
        way,
        settings,
        log,
        count,
        read_pod=read,
        account=choice.SERVICE_ACCOUNT,
        environ=os.environ,
        directory=settings.run / "metadata",
    )


def _with_labels(settings: MetadataSettings) -> ReadPod:
    read = importlib.import_module(".read_pod", __package__).read_pod
    labels = settings.labels()

    def read_pod(found: Mapping[str, Any]) -> Pod:
        pod: Pod = read(found, labels)
        return pod

    return read_pod
