# SPDX-License-Identifier: Apache-2.0
"""Devices that pods hold, in metadata's frame: nothing unless the kubelet is to be asked."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from wattline.wire.frames import SourceState
from wattline.wire.identities import HeldDevices, no_devices

from .callbacks import Count
from .held_devices import held_table
from .pod import Pod

if TYPE_CHECKING:
    from .pod_resources import PodResources


class Devices:
    """The kubelet's list of devices, joined with the pods that are known. Only `close` ever waits."""

    def __init__(self, path: str, count: Count) -> None:
        """`path`: the kubelet's pod-resources socket; empty: it isn't asked. `count`: Runtime.count."""
        self._source = _opened(path, count) if path else None
        self._joined: tuple[object, object] | None = None  # of which devices and pods the table is
        self._table = no_devices()

    def table(self, pods: Callable[[], Mapping[str, Pod]]) -> HeldDevices:
        """As the frame has it, joined anew only when devices or pods have changed.

        `pods`: the known ones by uid, the same object while they are the same; called only if there are
        devices.
        """
        devices = self._source.devices() if self._source is not None else ()
        if not devices:
            return no_devices()
        known = pods()
        if self._joined is None or self._joined[0] is not devices or self._joined[1] is not known:
            self._joined, self._table = (devices, known), held_table(devices, known.values())
        return self._table

    def sources(self) -> list[SourceState]:
        """The row of the source, if there is one. Counts what has failed since the last call."""
        return [self._source.state()] if self._source is not None else []

    def close(self) -> None:
        """End the source's thread, within a second."""
        if self._source is not None:
            self._source.close()


def _opened(path: str, count: Count) -> "PodResources":
    from .pod_resources import PodResources  # noqa: PLC0415 sockets and HTTP/2 only where they are used

    return PodResources(path, count)
