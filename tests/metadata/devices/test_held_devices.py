# SPDX-License-Identifier: Apache-2.0
"""The kubelet's list of devices in bytes, and its join with the pods that are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cluster.held_devices import ANSWER_BYTES_MAX, HeldDevice, held_table, read_answer
from services.metadata.cluster.pod import Pod, PodContainer
from services.metadata.cluster.protobuf import Budget, byte_fields

from .kubelet import container, driver, number_part, part, plugin, pod, varint

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"
ANSWER = pod("idle", "shop", container("main")) + pod(
    "train-0",
    "shop",
    container("main", plugin(GPU, "GPU-1", "GPU-2"), plugin(MIG, "MIG-1")),
    container("helper", plugin(GPU, "GPU-3::0"), driver("gpu.nvidia.com", "node-7", "gpu-4")),
)
HELD = (
    HeldDevice("train-0", "shop", "main", GPU, ("GPU-1", "GPU-2")),
    HeldDevice("train-0", "shop", "main", MIG, ("MIG-1",)),
    HeldDevice("train-0", "shop", "helper", GPU, ("GPU-3::0",)),
    HeldDevice("train-0", "shop", "helper", "gpu.nvidia.com", ("node-7/gpu-4",)),
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
helds = st.lists(st.tuples(names, st.lists(names, min_size=1, max_size=3)), max_size=3)
pods_held = st.lists(
    st.tuples(names, names, st.lists(st.tuples(names, helds), max_size=3)),
    max_size=4,
)


def test_devices_of_plugins_and_of_drivers():
    """Each container's, by its pod's name and namespace; what isn't asked for is skipped."""
    assert read_answer(ANSWER) == HELD


def test_no_pods():
    """An empty message is an empty list."""
    assert read_answer(b"") == ()


def test_fields_in_any_order_and_unknown_ones():
    """A message's fields have no order, and newer kubelets send more of them."""
    unknown = number_part(90, 1) + varint(91 << 3 | 1) + bytes(8) + varint(92 << 3 | 5) + bytes(4)
    devices = part(2, part(2, "GPU-1") + unknown + part(1, GPU))
    turned = part(1, unknown + part(3, devices + part(1, "main")) + part(2, "shop") + part(1, "train-0"))
    assert read_answer(turned) == (HeldDevice("train-0", "shop", "main", GPU, ("GPU-1",)),)


def test_a_driver_that_tells_no_device():
    """An older kubelet tells only the name in the Container Device Interface: no device is made up."""
    older = part(5, part(4, part(1, part(1, "k8s.gpu.nvidia.com/claim=1"))))
    assert read_answer(pod("train-0", "shop", container("main", older))) == ()


@given(pods_held)
def test_what_is_written_is_read(pods):
    """Whatever the names are."""
    answer = bytearray()
    for name, space, inner in pods:
        containers = [container(one, *(plugin(kind, *ids) for kind, ids in held)) for one, held in inner]
        answer += pod(name, space, *containers)
    assert read_answer(bytes(answer)) == tuple(
        HeldDevice(name, space, one, kind, tuple(ids))
        for name, space, inner in pods
        for one, held in inner
        for kind, ids in held
    )


@given(st.binary(max_size=200))
def test_any_bytes(data):
    """Random bytes are read or refused with a ValueError."""
    try:
        read_answer(data)
    except ValueError:
        return


@given(st.data())
def test_any_damage(data):
    """So is an answer with bytes changed, left out or put in."""
    answer = bytearray(ANSWER)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(answer)))
        answer[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        read_answer(bytes(answer))
    except ValueError:
        return


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x0a\x05ab", "expected 5 bytes in field 1, got 2"),
        (b"\x0a", "got the end of the message"),
        (b"\x0b\x0c", "wire type 0, 1, 2 or 5, got 3"),
        (b"\x02\x00", "expected a field's number from 1"),
        (b"\x08" + b"\xff" * 10, "at most 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "at most 64 bits"),
        (part(1, part(1, b"\xff\xfe")), "UTF-8"),
        (part(1, part(1, "n" * 1025)), "at most 1024 bytes, got 1025"),
        (bytes(ANSWER_BYTES_MAX + 1), f"at most {ANSWER_BYTES_MAX} bytes"),
        (number_part(9, 0) * 50_001, "at most 50000 fields"),
        (pod("a", "b", container("c", plugin(GPU, *[""] * 50_000))), "at most 50000 fields"),
    ],
)
def test_what_is_refused(data, said):
    """With what is wrong."""
    with pytest.raises(ValueError, match=said):
        read_answer(data)


def test_limits_are_within_reach():
    """The largest answer that the limits allow is read."""
    answer = number_part(9, 0) * 49_998
    answer += part(9, bytes(ANSWER_BYTES_MAX - len(answer) - 4))
    assert len(answer) == ANSWER_BYTES_MAX
    assert read_answer(answer) == ()
    assert len([*byte_fields(memoryview(answer), Budget(49_999))]) == 1


def of(uid: str, name: str, *containers: PodContainer, namespace: str = "shop") -> Pod:
    return Pod(uid, uid, name, namespace, containers=containers)


def rows(*pods: Pod, devices=HELD) -> list[tuple[str, ...]]:
    table = held_table(devices, pods)
    return [*zip(table.pod_uid, table.container_id, table.resource, table.device_id, strict=True)]


def test_devices_of_known_pods():
    """A row for each device, with the pod's uid and the id of the container's newest run."""
    main = PodContainer("main", container_ids=("run-2", "run-1"))
    assert rows(of("uid-1", "train-0", main, PodContainer("helper")), of("uid-2", "idle")) == [
        ("uid-1", "", "gpu.nvidia.com", "node-7/gpu-4"),
        ("uid-1", "", GPU, "GPU-3::0"),
        ("uid-1", "run-2", GPU, "GPU-1"),
        ("uid-1", "run-2", GPU, "GPU-2"),
        ("uid-1", "run-2", MIG, "MIG-1"),
    ]


def test_an_unknown_pod_has_no_row():
    """Nor one of the same name in another namespace."""
    assert rows(of("uid-1", "train-0", namespace="other"), of("uid-2", "train-1")) == []


def test_an_unknown_container_has_no_id():
    """The device is its pod's all the same."""
    assert {row[:2] for row in rows(of("uid-1", "train-0"))} == {("uid-1", "")}


def test_a_name_that_two_pods_have():
    """One has just been replaced by the other: it isn't known which of them holds the device."""
    assert rows(of("uid-1", "train-0"), of("uid-2", "train-0"), of("uid-3", "train-0")) == []


@given(pods_held, st.permutations(range(4)))
def test_the_order_of_pods_does_not_matter(pods, order):
    """Nor that of devices; and no row is there twice."""
    devices = [
        HeldDevice(name, space, one, kind, tuple(ids))
        for name, space, inner in pods
        for one, held in inner
        for kind, ids in held
    ]
    known = [of(f"uid-{at}", name, namespace=space) for at, (name, space, _) in enumerate(pods)]
    found = rows(*known, devices=devices)
    turned = rows(*(known[at] for at in order if at < len(known)), devices=devices[::-1])
    assert found == turned
    assert len({*found}) == len(found)
    assert {row[0] for row in found} <= {one.uid for one in known}
