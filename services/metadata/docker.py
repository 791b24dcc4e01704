# SPDX-License-Identifier: Apache-2.0
"""Asking a Docker Engine what containers are called; the only file that speaks to it, and it only reads.

Source: Docker Engine API, GET /_ping and GET /containers/json, the same in all versions since 1.24; Podman
serves both as well.
"""

import json
import os
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import msgspec

from wattline.errors import Retry

# The service must not wait for long; energy waits for it (--metadata-grace-s).
_TIMEOUT_S = 0.5
_ANSWER_MAX_BYTES = 4_000_000  # a container takes some 2 kB


class _Container(msgspec.Struct):
    """The part of an answer that is used. Names begin with a slash; one with two is a link's."""

    container_id: str = msgspec.field(name="Id")
    names: list[str] | None = msgspec.field(name="Names", default=None)


class DockerSocket:
    """A Docker Engine's Unix socket. Raises Retry where it can't be asked, with why and the likely cure."""

    def __init__(self, path: str) -> None:
        import http.client  # noqa: PLC0415 MetadataSettings.preload says why

        self._http = http.client
        self._path = path

    def ping(self) -> None:
        """Find out whether an engine is there."""
        self._get("/_ping")

    def names(self, container_ids: Collection[str]) -> dict[str, str]:
        """Names by container id, of those that it knows, stopped ones too."""
        filters = json.dumps({"id": list(container_ids)}, separators=(",", ":"))
        body = self._get(f"/containers/json?all=1&filters={quote(filters)}")
        try:
            found = msgspec.json.decode(body, type=list[_Container])
        except msgspec.DecodeError as error:
            raise Retry(
                f"{self._path}: expected Docker's list of containers, got other JSON: {error}"
            ) from error
        return {one.container_id: _own(one.names or []) for one in found}

    def _get(self, target: str) -> bytes:
        connection: Any = self._http.HTTPConnection("localhost", timeout=_TIMEOUT_S)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_TIMEOUT_S)
            connection.sock.connect(self._path)
            connection.request("GET", target)
            answer = connection.getresponse()
            body: bytes = answer.read(_ANSWER_MAX_BYTES + 1)
        except (OSError, self._http.HTTPException) as error:
            raise Retry(self._explain(error)) from error
        finally:
            connection.close()
        if answer.status != self._http.OK or len(body) > _ANSWER_MAX_BYTES:
            raise Retry(
                f"{self._path}: expected an answer of Docker's API, status 200 and at most "
                f"{_ANSWER_MAX_BYTES} bytes, got status {answer.status} and {body[:200]!r}"
            )
        return body

    def _explain(self, error: Exception) -> str:
        uid = os.geteuid()
        cures: dict[type, str] = {
            FileNotFoundError: "is that where the engine's socket is, as this service sees it?",
            PermissionError: f"give user {uid} the socket's group (Compose: group_add), or the right to "
            f"open it (setfacl -m u:{uid}:rw {self._path})",
            ConnectionRefusedError: "does the engine run? A socket that was mounted into a container "
            "stays that of the engine's former run: then restart this service",
            TimeoutError: f"no answer within {_TIMEOUT_S} s",
        }
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{self._path}: {what}: {cures.get(type(error), 'is it a Docker Engine that listens there?')}"


def _own(names: list[str]) -> str:
    """A container's own name among those that it has."""
    return next((name[1:] for name in names if name.startswith("/") and "/" not in name[1:]), "")
