# SPDX-License-Identifier: Apache-2.0
"""What metadata can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning

from .added_places import parse_container_patterns
from .cluster import choice
from .cluster.address import split_address
from .cluster.label_names import LABELS_MAX, parse_labels


class MetadataSettings(CommonSettings, kw_only=True, frozen=True):
    """Who each process and cgroup is: container, runtime, pod, kernel thread or host process."""

    path_procfs: Annotated[Path, meaning("where the host's proc file system is mounted")] = field(
        default=Path("/proc"), name="path.procfs"
    )
    path_cgroup: Annotated[
        str,
        meaning(
            "where the host's cgroup2 hierarchy is mounted; default: as the kernel lists it",
            expected="a path",
        ),
    ] = field(default="", name="path.cgroup")
    docker_socket: Annotated[
        str,
        meaning(
            "socket at which a Docker Engine is asked what its containers are called, nothing else; but who "
            "may open it may do anything to the host; default: no engine is asked",
            expected="a path",
        ),
    ] = field(default="", name="docker-socket")
    container_patterns: Annotated[
        str,
        meaning(
            "more cgroup paths that are containers: RUNTIME=PATTERN, several with commas; the last component "
            "has the id, as {name}, {number}, {uuid}, {hex32} or {hex64}; * stands for any characters, a "
            "leading / for the root",
            expected="RUNTIME=PATTERN,..., e.g. batch=/batch/*/job-{number},render=render-{name}.scope",
            check=parse_container_patterns,
        ),
    ] = field(default="", name="container-patterns")

    kubernetes: Annotated[
        str,
        meaning(
            "where names of pods come from: the API server (api), this node's kubelet, or nowhere (off); "
            "auto: the API server in a cluster or with a kubeconfig; kubelet-legacy needs a right that also "
            "allows running commands in every container. In TOML, put the names kubernetes.* in quotes",
            choices=choice.CHOICES,
        ),
    ] = choice.AUTO
    kubernetes_kubeconfig: Annotated[
        str,
        meaning(
            "kubeconfig whose current context has the cluster and the user to ask as; default: the pod's "
            "service account",
            expected="a path",
        ),
    ] = field(default="", name="kubernetes.kubeconfig")
    kubernetes_node: Annotated[
        str,
        meaning(
            "name of this node in the cluster; default: the variable NODE_NAME, else `node`",
            expected="a name as kubectl get nodes shows it",
            check=choice.check_node,
        ),
    ] = field(default="", name="kubernetes.node")
    kubernetes_labels: Annotated[
        str,
        meaning(
            f"labels of pods to publish, at most {LABELS_MAX}, with commas between them; default: none",
            expected="names of labels, e.g. app,team or app.kubernetes.io/name",
            check=parse_labels,
        ),
    ] = field(default="", name="kubernetes.labels")
    kubernetes_name_grace_s: Annotated[
        float,
        meaning(
            "longest time for which series of a new pod or container wait for its name, also for Docker's; "
            "then they begin without one",
            "s",
            ge=0,
            le=60,  # the calculator waits no longer
        ),
    ] = field(default=10.0, name="kubernetes.name-grace-s")
    kubernetes_kubelet_address: Annotated[
        str,
        meaning(
            "where this node's kubelet is; at an address of this machine its certificate must be for the "
            "node's name",
            expected="https://HOST[:PORT]",
            check=split_address,
        ),
    ] = field(default="https://127.0.0.1:10250", name="kubernetes.kubelet-address")
    kubernetes_kubelet_ca_file: Annotated[
        str,
        meaning(
            "certificates (PEM) of the authorities that may have signed the kubelet's, or the kubelet's own; "
            "default: the cluster's",
            expected="a path",
        ),
    ] = field(default="", name="kubernetes.kubelet-ca-file")
    kubernetes_kubelet_verify: Annotated[
        bool,
        meaning("whether to verify the kubelet's certificate; if not, whatever answers there gets the token"),
    ] = field(default=True, name="kubernetes.kubelet-verify")
    kubernetes_period_s: Annotated[
        float, meaning("time between two requests to the kubelet", "s", ge=1, le=300)
    ] = field(default=5.0, name="kubernetes.period-s")
    kubernetes_pod_resources_socket: Annotated[
        str,
        meaning(
            "socket at which the kubelet is asked which pod holds which device, usually "
            "/var/lib/kubelet/pod-resources/kubelet.sock; default: it isn't asked",
            expected="a path",
        ),
    ] = field(default="", name="kubernetes.pod-resources-socket")

    def labels(self) -> tuple[str, ...]:
        """The labels of pods to publish."""
        return parse_labels(self.kubernetes_labels)

    def added_places(self) -> list[tuple[str, str]]:
        """(runtime, pattern) of each pattern that the setting adds."""
        return parse_container_patterns(self.container_patterns)
