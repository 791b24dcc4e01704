# SPDX-License-Identifier: Apache-2.0
"""JSON over TLS with a bearer token: the API server as the tests ask it, without Wattline's own client."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
_TIMEOUT_S = 20


class ApiError(Exception):
    """An answer that is no success. `body`: the Status object."""

    def __init__(self, status: int, body: dict) -> None:
        super().__init__(f"HTTP {status}: {body.get('message')}")
        self.status = status
        self.body = body


class Client:
    """One user of one API server; its connection is kept."""

    def __init__(self, url: str, ca_file: Path, token: str) -> None:
        self._address = urlsplit(url).netloc
        self._context = ssl.create_default_context(cafile=str(ca_file))
        self._token = token
        self._connection: http.client.HTTPSConnection | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the kept connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body=None, kind: str = JSON) -> tuple[int, dict]:
        """(status, object). A connection that the server has closed meanwhile is opened again, once."""
        with self._lock:
            return self._asked(method, path, body, kind)

    def _asked(self, method: str, path: str, body, kind: str) -> tuple[int, dict]:
        for is_last in (False, True):
            try:
                if self._connection is None:
                    self._connection = self._connected()
                self._send(self._connection, method, path, body, kind)
                answer = self._connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                self.close()
                if is_last:
                    raise
            else:
                return answer.status, _object(data)
        raise AssertionError

    def get(self, path: str, **query: str) -> dict:
        return self._require("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: dict) -> dict:
        return self._require("POST", path, body)

    def patch(self, path: str, body: dict) -> dict:
        """A merge patch."""
        return self._require("PATCH", path, body, MERGE_PATCH)

    def delete(self, path: str, grace_s: int = 0) -> dict:
        return self._require("DELETE", path, {"gracePeriodSeconds": grace_s})

    def watch(self, path: str, **query: str) -> Iterator[dict]:
        """Events until the server ends the watch, by `timeoutSeconds`; on a connection of its own."""
        connection = self._connected()
        try:
            self._send(connection, "GET", f"{path}?{urlencode({'watch': '1'} | query)}", None, JSON)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise ApiError(answer.status, _object(answer.read()))
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()

    def _connected(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, context=self._context, timeout=_TIMEOUT_S)

    def _send(self, connection, method, path, body, kind) -> None:
        headers = {"Accept": JSON, "Content-Type": kind}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection.request(method, path, None if body is None else json.dumps(body), headers)

    def _require(self, method, path, body=None, kind=JSON) -> dict:
        status, found = self.ask(method, path, body, kind)
        if not 200 <= status < 300:
            raise ApiError(status, found)
        return found


def _object(data: bytes) -> dict:
    try:
        return json.loads(data)
    except ValueError:
        return {"message": data.decode("utf-8", "replace")}
