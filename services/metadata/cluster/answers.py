# SPDX-License-Identifier: Apache-2.0
"""Lists and watch events in a server's bytes. Pure.

Objects are decoded one by one: one that is absurd is left out, and takes no other with it.
Source: Kubernetes API Concepts: "Retrieving large results sets in chunks", "Efficient detection of changes".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

# etcd takes no object above 1.5 MiB (--max-request-bytes); JSON is larger than what is stored there.
OBJECT_BYTES_MAX = 3 << 20
# Elements of an object that takes its place in memory as Python's own objects, some 100 bytes each.
OBJECT_ELEMENTS_MAX = 50_000
LIST_OBJECTS_MAX = 5_000  # of one node: the kubelet's default limit is 110, the largest in use some 1,000
ADDED, MODIFIED, DELETED, BOOKMARK, ERROR = "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"


class _Meta(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    more: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    kind: str = ""
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    kind: str = ""
    code: int = 0
    reason: str = ""


class _Bookmark(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _ObjectMeta(msgspec.Struct):
    uid: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    metadata: _ObjectMeta = msgspec.field(default_factory=_ObjectMeta)


@dataclass(frozen=True)
class Page:
    """Part of a list. `version`: the resourceVersion. `more`: what asks for the next part, if any."""

    items: Sequence[msgspec.Raw | bytes] = ()
    version: str = ""
    more: str = ""


@dataclass(frozen=True)
class Event:
    """One event of a watch. `version`: a bookmark's; `code` and `reason`: an error's."""

    type: str
    data: bytes = b""
    version: str = ""
    code: int = 0
    reason: str = ""


class Refused:
    """Objects that were left out, and why."""

    def __init__(self) -> None:
        self._causes: list[str] = []

    def add(self, cause: str) -> None:
        """Leave one out."""
        self._causes.append(cause)

    def take(self) -> list[str]:
        """The causes since the last call, one for each object."""
        causes, self._causes = self._causes, []
        return causes


def page(body: bytes | bytearray) -> Page:
    """A PodList, whose items are parts of `body`.

    Raises ValueError, whose text has nothing of the body in it.
    """
    try:
        read = msgspec.json.decode(body, type=_List)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("expected a list of pods in JSON, got something else") from None
    if read.kind not in ("PodList", "List"):
        raise ValueError("expected a list of pods (kind PodList), got something else")
    items = read.items or []
    if len(items) > LIST_OBJECTS_MAX:
        raise ValueError(f"expected at most {LIST_OBJECTS_MAX} pods of one node, got more")
    return Page(items, read.metadata.version, read.metadata.more)


def event(line: bytes) -> Event:
    """An event of a watch. Raises ValueError, whose text has nothing of the line in it."""
    try:
        read = msgspec.json.decode(line, type=_Event)
        if read.type == ERROR:
            status = msgspec.json.decode(read.object, type=_Status)
            return Event(ERROR, code=status.code, reason=status.reason)
        if read.type == BOOKMARK:
            return Event(BOOKMARK, version=msgspec.json.decode(read.object, type=_Bookmark).metadata.version)
        if read.type in (ADDED, MODIFIED, DELETED):
            return Event(read.type, bytes(read.object))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("expected an event in JSON, got something else") from None
    raise ValueError("expected an event of a known type, got another")


def decode(data: bytes) -> Mapping[str, Any]:
    """An object. Raises ValueError, whose text has nothing of the data in it, for one beyond the limits."""
    if len(data) > OBJECT_BYTES_MAX:
        raise ValueError(f"expected an object of at most {OBJECT_BYTES_MAX} bytes, got a larger one")
    if data.count(b",") > OBJECT_ELEMENTS_MAX:
        raise ValueError(f"expected an object of at most {OBJECT_ELEMENTS_MAX} elements, got more")
    try:
        found = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("expected an object in JSON, got something else") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"expected an object, got {type(found).__name__}")  # noqa: TRY004 bad input, not a bug
    return found


def identity(data: bytes) -> tuple[str, str]:
    """(uid, resourceVersion) of an object however large: what else it has is skipped. Raises ValueError."""
    try:
        found = msgspec.json.decode(data, type=_Object).metadata
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("expected an object in JSON, got something else") from None
    return found.uid, found.version


def text_at(found: Mapping[str, Any], *path: str) -> str:
    """The text at a path, empty if there is none."""
    here: Any = found
    for name in path:
        here = here.get(name) if isinstance(here, Mapping) else None
    return here if isinstance(here, str) else ""
