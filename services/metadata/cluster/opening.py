# SPDX-License-Identifier: Apache-2.0
"""How a source of pods is put together. Imported only where one is in use."""

from collections.abc import Mapping
from pathlib import Path

from wattline.log import Log

from ..settings import MetadataSettings
from . import choice
from .access import ApiServer, Kubelet, identity_of
from .api_server import ApiServerRounds
from .backoff import Backoff
from .callbacks import Count, ReadPod
from .client import Client, Limits
from .known_pods import KnownPods, PolledPods
from .kubelet import LEGACY_WARNING, KubeletRounds
from .pod import PodSource
from .report import Report
from .worker import Worker


def opened(
    way: str,
    settings: MetadataSettings,
    log: Log,
    count: Count,
    *,
    read_pod: ReadPod,
    account: Path,
    environ: Mapping[str, str],
    directory: Path,
    limits: Limits | None = None,
    backoff: Backoff | None = None,
) -> PodSource:
    """A source whose thread has begun. `directory`: one that the service may write to."""
    limits = limits or Limits()
    report = Report(log, count)
    node = choice.node_name(settings.kubernetes_node, settings.node, environ)
    identity = identity_of(settings.kubernetes_kubeconfig, directory, account, environ)
    if way == choice.API:
        client = Client(ApiServer(identity).server, limits)
        return Worker(
            ApiServerRounds(client, KnownPods(read_pod, node), report, node, limits), report, backoff
        )
    kubelet = Kubelet(
        identity,
        settings.kubernetes_kubelet_address,
        node,
        settings.kubernetes_kubelet_ca_file,
        verify=settings.kubernetes_kubelet_verify,
    )
    is_legacy = way == choice.KUBELET_LEGACY
    if is_legacy:
        report.warn("kubernetes_legacy", LEGACY_WARNING)
    if not settings.kubernetes_kubelet_verify:
        report.warn("kubernetes_unverified", UNVERIFIED)
    client = Client(kubelet.server, limits)
    rounds = KubeletRounds(
        client, PolledPods(read_pod), report, settings.kubernetes_period_s, is_legacy=is_legacy
    )
    return Worker(rounds, report, backoff)


UNVERIFIED = (
    "kubernetes.kubelet-verify is false: anyone who can answer at the kubelet's address gets the token; set "
    "kubernetes.kubelet-ca-file"
)
