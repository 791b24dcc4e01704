# SPDX-License-Identifier: Apache-2.0
"""The pods of this node, as lists and events tell of them. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from . import answers
from .callbacks import ReadPod
from .pod import Pod

_DIGEST_BYTES = 16
_FAILED = "Failed"
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
TOO_LONG = f"expected an object of at most {answers.OBJECT_BYTES_MAX} bytes, got a larger one"
TOO_MANY = f"expected at most {answers.LIST_OBJECTS_MAX} pods of one node, got more"


class KnownPods:
    """`by_uid` is one object for as long as nothing changes, and is then replaced by another.

    `version`: the newest resourceVersion, from which a watch goes on; empty: the list has to be read anew.
    """

    def __init__(self, read_pod: ReadPod, node: str = "") -> None:
        """`node`: pods of another one are left out; empty: all are this node's."""
        self.by_uid: Mapping[str, Pod] = {}
        self.version = ""
        self.refused = answers.Refused()
        self._read_pod = read_pod
        self._node = node
        self._pods: dict[str, Pod] = {}  # by the API's uid, which is what a deletion names

    def read(self, items: Sequence[msgspec.Raw | bytes]) -> list[Pod]:
        """The pods in part of a list; what is refused is left out."""
        found = (self._read(bytes(one)) for one in items)
        return [one for one in found if one is not None]

    def replace(self, pods: Sequence[Pod], version: str = "") -> None:
        """Take a whole list: pods that are not in it are forgotten."""
        self._pods = {pod.api_uid: pod for pod in pods}
        self.version = version
        self._publish()

    def apply(self, event: answers.Event) -> None:
        """Take an event of a watch, errors apart."""
        if event.type == answers.BOOKMARK:
            self.version = event.version or self.version
            return
        try:
            uid, version = answers.identity(event.data)
        except ValueError as error:
            self.refused.add(str(error))
            return
        self.version = version or self.version
        # An end is taken also of an object that is refused: its author may have made it so afterwards.
        found = self._decoded(event.data) if event.type != answers.DELETED else {}
        if found is None:
            return
        if event.type == answers.DELETED or not self._may_run(found):
            self._pods.pop(uid, None)
        else:
            pod = self._told(found)
            if pod is None:
                return
            # A pod whose uid changed hands within its list comes last, so that it counts.
            if self._pods.get(pod.api_uid) == pod:
                return
            if pod.api_uid not in self._pods and len(self._pods) >= answers.LIST_OBJECTS_MAX:
                self.refused.add(TOO_MANY)
                return
            self._pods.pop(pod.api_uid, None)
            self._pods[pod.api_uid] = pod
        self._publish()

    def _publish(self) -> None:
        by_uid = {pod.uid: pod for pod in self._pods.values()}
        if by_uid != self.by_uid:
            self.by_uid = by_uid

    def _read(self, data: bytes) -> Pod | None:
        found = self._decoded(data)
        return self._told(found) if found is not None and self._may_run(found) else None

    def _decoded(self, data: bytes) -> Mapping[str, Any] | None:
        try:
            return answers.decode(data)
        except ValueError as error:
            self.refused.add(str(error))
            return None

    def _told(self, found: Mapping[str, Any]) -> Pod | None:
        try:
            return self._read_pod(found)
        except ValueError as error:
            self.refused.add(str(error))
            return None

    def _may_run(self, found: Mapping[str, Any]) -> bool:
        """Whether a pod is this node's, and not one that its kubelet has rejected.

        Source: kubernetes/pkg/kubelet/kubelet.go, rejectPod: Failed, no container has a status.
        """
        if self._node and answers.text_at(found, "spec", "nodeName") != self._node:
            return False
        status = found.get("status")
        if not isinstance(status, Mapping) or status.get("phase") != _FAILED:
            return True
        return any(status.get(containers) for containers in _STATUSES)


class PolledPods(KnownPods):
    """The pods of a list that is read again and again: an object that is as before is not decoded anew."""

    def __init__(self, read_pod: ReadPod) -> None:
        super().__init__(read_pod)
        self._before: dict[bytes, Pod] = {}

    def read(self, items: Sequence[msgspec.Raw | bytes]) -> list[Pod]:
        """The pods in a whole list."""
        before, self._before = self._before, {}
        for data in items:
            digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
            pod = before.get(digest) or self._read(bytes(data))
            if pod is not None:
                self._before[digest] = pod
        return list(self._before.values())
