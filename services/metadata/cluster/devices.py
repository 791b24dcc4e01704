# SPDX-License-Identifier: Apache-2.0
"""Devices that pods hold, in metadata's frame: nothing unless the kubelet is to be asked."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wattline.wire.frames import SourceState
from wattline.wire.identities import HeldDevices, no_devices

from .held_devices import held_table
from .pod import Pod

if TYPE_CHECKING:
    from .pod_resources import PodResources


class Devices:
    """The kubelet's list of devices, joined with the pods that are known. Only `close` ever waits."""

    def __init__(self, path: str, count: Callable[[str, object], None]) -> None:
        """`path`: the kubelet's pod-resources socket; empty: it isn't asked. `count`: Runtime.count."""
        self._source = _opened(path, count) if path else None

    def table(self, pods: Callable[[], Iterable[Pod]]) -> HeldDevices:
        """As the frame has it. `pods`: those that are known; asked for only if there are devices."""
        devices = self._source.devices() if self._source is not None else ()
        return held_table(devices, pods()) if devices else no_devices()

    def sources(self) -> list[SourceState]:
        """The row of the source, if there is one. Counts what has failed since the last call."""
        return [self._source.state()] if self._source is not None else []

    def close(self) -> None:
        """End the source's thread, within a second."""
        if self._source is not None:
            self._source.close()


def _opened(path: str, count: Callable[[str, object], None]) -> "PodResources":
    from .pod_resources import PodResources  # noqa: PLC0415 sockets and HTTP/2 only where they are used

    return PodResources(path, count)
