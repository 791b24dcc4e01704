# SPDX-License-Identifier: Apache-2.0
"""Asking a Docker Engine what containers are called; the only file that speaks to it, and it only reads.

Source: Docker Engine API, GET /containers/json, the same in all versions since 1.24. One question is one
connection in HTTP/1.0, where an answer ends with it. Not http.client: its timeout is one of each read, so an
engine that drips would hold up everybody's energy; and it takes 6 MB.
"""

import json
import os
import re
import socket
import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

import msgspec

from wattline.errors import Retry

_ANSWER_MAX_BYTES = 4_000_000  # a container takes some 2 kB, its labels included
# Bounds what an answer can take in memory, where a name of 2 bytes takes 60. Elements are counted by their
# commas; the description of a container has some 50, and those within its labels.
_ELEMENTS_MAX, _ELEMENTS_PER_CONTAINER_MAX = 4000, 1000
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_OK = b"200"
_HEAD_END = b"\r\n\r\n"
_NOBODY = "0" * 64  # asked for, it brings no container's description, which may be anything


class BadAnswerError(ValueError):
    """The engine answers, but what it says of these containers is of no use."""


class _Container(msgspec.Struct):
    """The part of an answer that is used. Names begin with a slash; one with two is a link's."""

    container_id: str = msgspec.field(name="Id")
    names: list[str] | None = msgspec.field(name="Names", default=None)


def socket_group(path: str) -> list[int]:
    """The group that may open the socket, for a service that changes its user; none if there is no socket.

    Nor is root's own, which may read too much else.
    """
    try:
        gid = Path(path).stat().st_gid if path else 0
    except OSError:
        return []
    return [gid] if gid else []


class DockerSocket:
    """A Docker Engine's Unix socket.

    Raises Retry where it can't be asked, with why and the likely cure, and BadAnswerError.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def names(self, container_ids: Collection[str], deadline_s: float) -> dict[str, str]:
        """Names by container id, of those that it knows, stopped ones too.

        Without ids it is only seen whether it answers. `deadline_s`: on time.monotonic.
        """
        filters = quote(json.dumps({"id": list(container_ids) or [_NOBODY]}, separators=(",", ":")))
        body = self._get(f"/containers/json?all=1&filters={filters}", deadline_s)
        elements_max = _ELEMENTS_MAX + _ELEMENTS_PER_CONTAINER_MAX * len(container_ids)
        if body.count(b",") > elements_max:
            raise BadAnswerError(
                f"{self._path}: expected a description of {len(container_ids)} containers, got an answer of "
                f"more than {elements_max} elements"
            )
        try:
            found = msgspec.json.decode(body, type=list[_Container] | None) or []
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadAnswerError(
                f"{self._path}: expected Docker's list of containers, "
                f"got {bytes(body[:100])!r}: {error!s:.200}"
            ) from error
        return {one.container_id: _own(one.names or []) for one in found}

    def _get(self, target: str, deadline_s: float) -> bytearray:
        try:
            answer = self._exchange(
                f"GET {target} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii"), deadline_s
            )
        except OSError as error:
            raise Retry(self._explain(error)) from error
        status = _STATUS.match(answer)
        if status is None or status[1] != _OK:
            raise Retry(
                f"{self._path}: expected Docker's API to answer with status 200, got {bytes(answer[:200])!r}"
            )
        del answer[: answer.find(_HEAD_END) + len(_HEAD_END) if _HEAD_END in answer else len(answer)]
        return answer

    def _exchange(self, request: bytes, deadline_s: float) -> bytearray:
        answer = bytearray()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_left_s(deadline_s))
            connection.connect(self._path)
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
                if len(answer) > _ANSWER_MAX_BYTES:
                    raise BadAnswerError(
                        f"{self._path}: expected at most {_ANSWER_MAX_BYTES} bytes in an answer, got more"
                    )
                connection.settimeout(_left_s(deadline_s))
        return answer

    def _explain(self, error: OSError) -> str:
        uid = os.geteuid()
        cures: dict[type, str] = {
            FileNotFoundError: "is that where the engine's socket is, as this service sees it?",
            PermissionError: f"let user {uid} open it: by its group, which Compose gives by group_add, and "
            "`wattline up` if the socket is there when it starts and its group is not root's; or by "
            f"setfacl -m u:{uid}:rw {self._path}",
            ConnectionRefusedError: "does the engine run? A socket that was mounted into a container stays "
            "that of the engine's former run: then restart this service",
            TimeoutError: "no answer in time",
            BlockingIOError: "it takes no more connections: does the engine hang?",
        }
        cure = cures.get(type(error), "is it a Docker Engine that listens there?")
        if isinstance(error, ConnectionRefusedError) and not Path(self._path).is_socket():
            # Docker makes one where there is nothing to mount.
            cure = "that is no socket. If it is a directory, was there one on the host (DOCKER_SOCKET)?"
        return f"{self._path}: {error.strerror or type(error).__name__}: {cure}"


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _own(names: list[str]) -> str:
    """A container's own name among those that it has."""
    return next((name[1:] for name in names if name.startswith("/") and "/" not in name[1:]), "")
