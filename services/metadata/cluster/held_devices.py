# SPDX-License-Identifier: Apache-2.0
"""Devices that pods hold, as the kubelet's pod-resources API lists them. Pure.

Source of the fields' numbers: Kubernetes, staging/src/k8s.io/kubelet/pkg/apis/podresources/v1/api.proto
(1.20 and newer; dynamic resources with a driver's name since 1.31).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from wattline.wire.identities import HeldDevices

from .pod import Pod
from .protobuf import Budget, byte_fields, text

ANSWER_BYTES_MAX = 1 << 20
# Of 500 pods with two containers and eight devices each there are some 20,000.
_FIELDS_MAX = 50_000
_TEXT_BYTES_MAX = 1024  # names in Kubernetes have at most 253; ids of devices some 50

_ANSWER_PODS = 1  # ListPodResourcesResponse.pod_resources
_POD_NAME, _POD_NAMESPACE, _POD_CONTAINERS = 1, 2, 3  # PodResources
_CONTAINER_NAME, _CONTAINER_DEVICES, _CONTAINER_DYNAMIC = 1, 2, 5  # ContainerResources
_DEVICES_RESOURCE, _DEVICES_IDS = 1, 2  # ContainerDevices
_DYNAMIC_CLAIMED = 4  # DynamicResource.claim_resources
_CLAIMED_DRIVER, _CLAIMED_POOL, _CLAIMED_DEVICE = 2, 3, 4  # ClaimResource


@dataclass(frozen=True)
class HeldDevice:
    """Devices of one kind that a container holds.

    `resource_name`: as `nvidia.com/gpu`; of Dynamic Resource Allocation, the driver's name, as
    `gpu.nvidia.com`. `device_ids`: as the device plugin calls them (NVIDIA's: the GPU's or MIG device's uuid,
    with `::N` where GPUs are shared); of a driver, POOL/DEVICE.
    """

    pod_name: str
    namespace: str
    container_name: str
    resource_name: str
    device_ids: tuple[str, ...]


def read_answer(answer: bytes) -> tuple[HeldDevice, ...]:
    """The devices in a ListPodResourcesResponse, in its order.

    Raises ValueError for bytes that are none, and for one beyond the limits.
    """
    if len(answer) > ANSWER_BYTES_MAX:
        raise ValueError(f"expected at most {ANSWER_BYTES_MAX} bytes, got {len(answer)}")
    budget = Budget(_FIELDS_MAX)
    found: list[HeldDevice] = []
    for pod in _all(memoryview(answer), _ANSWER_PODS, budget):
        found += _of_pod(pod, budget)
    return tuple(found)


def held_table(devices: Iterable[HeldDevice], pods: Iterable[Pod]) -> HeldDevices:
    """A row for each device of a pod that is known, sorted.

    A pod whose name two known pods have (one has just been replaced) has no rows: an unknown holder is
    better than a wrong one. A container's id is that of its current run, which stands first in
    `PodContainer.container_ids`.
    """
    by_name = _by_name(pods)
    rows: set[tuple[str, str, str, str]] = set()
    for device in devices:
        pod = by_name.get((device.namespace, device.pod_name))
        if pod is None:
            continue
        ids = [one.container_ids for one in pod.containers if one.name == device.container_name]
        container_id = ids[0][0] if ids and ids[0] else ""
        rows |= {(pod.uid, container_id, device.resource_name, one) for one in device.device_ids}
    columns = list(zip(*sorted(rows), strict=True)) or [()] * 4
    return HeldDevices(
        pod_uid=list(columns[0]),
        container_id=list(columns[1]),
        resource=list(columns[2]),
        device_id=list(columns[3]),
    )


def _by_name(pods: Iterable[Pod]) -> Mapping[tuple[str, str], Pod]:
    """Pods by (namespace, name); pods that share one are left out."""
    found: dict[tuple[str, str], Pod] = {}
    shared = set()
    for pod in pods:
        key = pod.namespace, pod.name
        if key in found:
            shared.add(key)
        found[key] = pod
    return {key: pod for key, pod in found.items() if key not in shared}


def _of_pod(message: memoryview, budget: Budget) -> Iterator[HeldDevice]:
    names = {_POD_NAME: "", _POD_NAMESPACE: ""}
    containers = []
    for number, content in byte_fields(message, budget):
        if number in names:
            names[number] = text(content, _TEXT_BYTES_MAX)
        elif number == _POD_CONTAINERS:
            containers.append(content)
    # Names may stand behind the containers: a message's fields have no order.
    for container in containers:
        for container_name, resource_name, device_ids in _of_container(container, budget):
            yield HeldDevice(
                names[_POD_NAME], names[_POD_NAMESPACE], container_name, resource_name, device_ids
            )


def _of_container(message: memoryview, budget: Budget) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(container's name, resource, ids of devices)."""
    name = ""
    held: list[tuple[str, tuple[str, ...]]] = []
    for number, content in byte_fields(message, budget):
        if number == _CONTAINER_NAME:
            name = text(content, _TEXT_BYTES_MAX)
        elif number == _CONTAINER_DEVICES:
            held.append(_of_plugin(content, budget))
        elif number == _CONTAINER_DYNAMIC:
            held += [_of_driver(one, budget) for one in _all(content, _DYNAMIC_CLAIMED, budget)]
    return ((name, resource, device_ids) for resource, device_ids in held if resource and device_ids)


def _of_plugin(message: memoryview, budget: Budget) -> tuple[str, tuple[str, ...]]:
    resource = ""
    device_ids = []
    for number, content in byte_fields(message, budget):
        if number == _DEVICES_RESOURCE:
            resource = text(content, _TEXT_BYTES_MAX)
        elif number == _DEVICES_IDS:
            device_ids.append(text(content, _TEXT_BYTES_MAX))
    return resource, tuple(device_ids)


def _of_driver(message: memoryview, budget: Budget) -> tuple[str, tuple[str, ...]]:
    """Nothing of a kubelet that tells only the device's name in the Container Device Interface."""
    found = {_CLAIMED_DRIVER: "", _CLAIMED_POOL: "", _CLAIMED_DEVICE: ""}
    for number, content in byte_fields(message, budget):
        if number in found:
            found[number] = text(content, _TEXT_BYTES_MAX)
    device = found[_CLAIMED_DEVICE]
    return found[_CLAIMED_DRIVER], (f"{found[_CLAIMED_POOL]}/{device}",) if device else ()


def _all(message: memoryview, wanted: int, budget: Budget) -> Iterator[memoryview]:
    return (content for number, content in byte_fields(message, budget) if number == wanted)
