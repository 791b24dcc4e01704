# SPDX-License-Identifier: Apache-2.0
"""A kubelet's pod-resources socket, played by gRPC's own server; and its messages' bytes."""

import threading
import time
from concurrent import futures
from pathlib import Path

import grpc

SERVICE = "v1.PodResourcesLister"
_WAIT_S = 10.0


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def part(number: int, content: str | bytes) -> bytes:
    """A field of wire type 2."""
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_part(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def plugin(resource: str, *device_ids: str) -> bytes:
    """ContainerDevices in a ContainerResources, with its topology (a NUMA node), which isn't used."""
    topology = part(3, part(1, number_part(1, 1)))
    return part(2, part(1, resource) + b"".join(part(2, one) for one in device_ids) + topology)


def driver(name: str, pool: str, device: str) -> bytes:
    """A DynamicResource in a ContainerResources."""
    claimed = part(1, part(1, "k8s.gpu.nvidia.com/claim=1")) + part(2, name) + part(3, pool) + part(4, device)
    return part(5, part(2, "claim") + part(3, "shop") + part(4, claimed))


def container(name: str, *held: bytes) -> bytes:
    """ContainerResources in a PodResources: with exclusive CPUs (packed) and memory, which aren't used."""
    memory = part(4, part(1, "memory") + number_part(2, 1 << 30))
    return part(3, part(1, name) + b"".join(held) + part(3, b"\x02\x03") + memory)


def pod(name: str, namespace: str, *containers: bytes) -> bytes:
    """PodResources in a ListPodResourcesResponse."""
    return part(1, part(1, name) + part(2, namespace) + b"".join(containers))


class Kubelet:
    """It answers with `answer`, or what `reply` makes of the call's context."""

    def __init__(self, path: Path, method: str = "List", service: str = SERVICE) -> None:
        self.path = path
        self.answer = b""
        self.reply = lambda _context: self.answer
        self.asked = 0
        self._method, self._service = method, service
        self._server = None

    def start(self) -> "Kubelet":
        self._server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(self._list)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(self._service, {self._method: handler})]
        )
        self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait(_WAIT_S)
        self._server = None
        self.path.unlink(missing_ok=True)

    def _list(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        assert request == b""
        self.asked += 1
        return self.reply(context)


def until(is_so) -> None:
    """Wait until something is so, 10 s at most."""
    deadline_s = time.monotonic() + _WAIT_S
    tick = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline_s
        tick.wait(0.005)
