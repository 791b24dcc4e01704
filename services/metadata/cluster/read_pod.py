# SPDX-License-Identifier: Apache-2.0
"""A pod out of its object in the API (v1 Pod), as the API server and the kubelet's /pods give it. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .json_part import Part
from .kubevirt import virtual_machine
from .pod import CONTAINER, EPHEMERAL, INIT, SIDECAR, Pod, PodContainer
from .resources import Resources
from .workload import Owner, workload

# The kubelet runs a static pod under the hash of its manifest, and shows it in the API by a mirror pod, which
# is never run itself. Source: Kubernetes, "Well-Known Labels, Annotations and Taints".
_MIRROR, _HASH = "kubernetes.io/config.mirror", "kubernetes.io/config.hash"
_TEMPLATE_HASH = "pod-template-hash"
# Any other pod's uid has dashes: an annotation, which its author writes, can't name that one.
_STATIC_UID = re.compile(r"[0-9a-f]{32}")
_ALWAYS = "Always"
_QOS_CLASSES = ("Guaranteed", "Burstable", "BestEffort")
_LABEL_MAX = 63  # Kubernetes, "Labels and Selectors"
_LISTS = (
    ("containers", "containerStatuses", CONTAINER),
    ("initContainers", "initContainerStatuses", INIT),
    ("ephemeralContainers", "ephemeralContainerStatuses", EPHEMERAL),
)


def read_pod(found: Mapping[str, Any], labels: Collection[str]) -> Pod:
    """The pod, with those of its labels that are in `labels`.

    Quantities that are none count as 0, which `trouble` tells. Raises ValueError for an object that is no
    pod's, with the pod's name if it has one, and where in it expected and got differ.
    """
    if not isinstance(found, Mapping):
        raise ValueError("expected a pod, got something else than an object")  # noqa: TRY004 bad input
    pod = Part(found)
    try:
        return _read(pod, labels)
    except ValueError as error:
        raise ValueError(f"pod {_called(found)}: {error}") from None


def _called(found: Mapping[str, Any]) -> str:
    metadata = found.get("metadata")
    names = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, Mapping) else []
    known = [f"{name:.{_LABEL_MAX}}" for name in names if isinstance(name, str)]
    return repr("/".join(known)) if known else "without a name"


def _read(pod: Part, labels: Collection[str]) -> Pod:
    metadata, spec, resources = pod.part("metadata"), pod.part("spec"), Resources()
    api_uid = metadata.required("uid")
    its_labels, annotations = metadata.part("labels"), metadata.part("annotations")
    owner_kind, owner_name = workload(
        [_owner(one) for one in metadata.parts("ownerReferences")],
        its_labels.text(_TEMPLATE_HASH, _LABEL_MAX),
        metadata.text("creationTimestamp"),
    )
    qos_class = pod.part("status").text("qosClass")
    if qos_class not in _QOS_CLASSES:
        qos_class = resources.qos_class(spec, [*spec.parts("containers"), *spec.parts("initContainers")])
    chosen = {label: its_labels.text(label, _LABEL_MAX) for label in labels if label in its_labels.found}
    return Pod(
        uid=_static_uid(annotations, pod.part("status")) or api_uid,
        api_uid=api_uid,
        name=metadata.required("name"),
        namespace=metadata.required("namespace"),
        owner_kind=owner_kind,
        owner_name=owner_name,
        qos_class=qos_class,
        labels={label: value for label, value in chosen.items() if value},
        kubevirt_vm=virtual_machine(its_labels, annotations),
        containers=_containers(pod, resources),
        trouble=_shown([*dict.fromkeys(resources.trouble)]),
    )


def _shown(trouble: Sequence[str]) -> str:
    more = f" (and {len(trouble) - 1} more)" if len(trouble) > 1 else ""
    return trouble[0] + more if trouble else ""


def _static_uid(annotations: Part, status: Part) -> str:
    """The uid that a mirror pod's static pod runs under; empty for any other pod.

    Anybody who may make pods can write the annotations, for a node of their choice. Its kubelet soon removes
    such a pod and reports no status of it: so a mirror without one may be anybody's.
    """
    if annotations.found.get(_MIRROR) is None:
        return ""
    if not (status.found.get("startTime") or any(status.parts(in_status) for _, in_status, _ in _LISTS)):
        return ""
    hashes = [annotations.found.get(key) for key in (_HASH, _MIRROR)]
    return next((one for one in hashes if isinstance(one, str) and _STATIC_UID.fullmatch(one)), "")


def _owner(reference: Part) -> Owner:
    return Owner(
        reference.text("kind"),
        reference.text("name"),
        reference.text("apiVersion"),
        is_controller=reference.found.get("controller") is True,
    )


def _containers(pod: Part, resources: Resources) -> tuple[PodContainer, ...]:
    spec, status = pod.part("spec"), pod.part("status")
    kinds: dict[str, str] = {}
    requests: dict[str, int] = {}
    ids: dict[str, dict[str, None]] = {}
    for in_spec, in_status, kind in _LISTS:
        for one in spec.parts(in_spec):
            name = one.required("name")
            is_sidecar = kind == INIT and one.found.get("restartPolicy") == _ALWAYS
            kinds.setdefault(name, SIDECAR if is_sidecar else kind)
            requests.setdefault(name, resources.cpu_request_m(one))
        for one in status.parts(in_status):
            name = one.required("name")
            kinds.setdefault(name, kind)
            ids.setdefault(name, {}).update(dict.fromkeys(_ids(one)))
    if not any(requests.values()):
        requests |= _split(resources.cpu_request_m(spec), kinds)
    return tuple(
        PodContainer(name, kind, tuple(ids.get(name, ())), requests.get(name, 0))
        for name, kind in kinds.items()
    )


def _ids(status: Part) -> list[str]:
    """The ids of a container's run and of the one before it: RUNTIME://ID, the newest first."""
    last, state = status.part("lastState"), status.part("state")
    given = [
        status.text("containerID"),
        state.part("terminated").text("containerID"),
        last.part("terminated").text("containerID"),
    ]
    bare = [one.rpartition("://")[2] for one in given]
    return [one for one in bare if one]


def _split(request_m: int, kinds: Mapping[str, str]) -> dict[str, int]:
    """What a pod requests as a whole: evenly for the containers that run together, to the thousandth.

    Init containers run before those, one at a time: each has all of it.
    """
    together = [name for name, kind in kinds.items() if kind in (CONTAINER, SIDECAR)]
    share, more = divmod(request_m, len(together) or 1)
    shares = {name: share + (number < more) for number, name in enumerate(together)}
    return shares | {name: request_m for name, kind in kinds.items() if kind == INIT}
