# SPDX-License-Identifier: Apache-2.0
"""A small API server and kubelet on the loopback: list, watch, nodes and /pods with faults on demand.

It answers as Kubernetes does (API Concepts: resource versions, continue tokens, bookmarks, 410 Gone), for
pods and nodes alone, and for the field selector spec.nodeName alone.
"""

import json
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.power.redfish.authority import Authority
from tests.tls_server import TlsServer

from .objects import NODE

LIST, WATCH, NODES, KUBELET = "list", "watch", "nodes", "kubelet"
RIGHTS = frozenset({LIST, WATCH, NODES, KUBELET})
BODIES = {
    "invalid": b'{"kind": "PodList", "items": [',
    "empty": b"",
    "binary": b"\xff\xfe\x00",
    "not-a-list": b'{"kind": "Secret", "data": {"token": "s3cret"}}',
    "list": b"[]",
    "deep": b"[" * 100_000,
    "no-version": b'{"kind": "PodList", "metadata": {}, "items": []}',
}
_HUGE_BYTES = 40 << 20
_FIRST_VERSION = 1000


@dataclass(frozen=True)
class Request:
    """One that came: what it asked for, the query, and the token it had."""

    kind: str
    query: dict[str, str]
    token: str


class Cluster:
    """The server. Everything may be changed while it runs; `fault` hits `fault_at`, or all if that is empty.

    Faults: `hang` `drip` `close` `close-kept` `cut` `huge` `redirect`, a status such as `403`, and what
    BODIES has.
    A watch that is open has those of `line`, `end_watches` and `is_silent`.
    """

    def __init__(
        self,
        authority: Authority,
        nodes: tuple[str, ...] = (NODE,),
        certificate: tuple[Path, Path] | None = None,
    ):
        """`certificate`: (certificate, key); without, one that the authority signs for 127.0.0.1."""
        self.authority = authority
        self.tokens = {"token-1"}
        self.rights = set(RIGHTS)
        self.nodes = set(nodes)
        self.fault = self.fault_at = ""
        self.is_silent = False
        self.without_ends = False  # lines of a watch have no end
        self.retry_after = ""
        self.elsewhere = "https://127.0.0.1:1"
        self.page_pods = 0  # objects a page at most, beside the query's limit; 0: no more than that
        self.requests: list[Request] = []
        self.connections = 0
        self.sent_bytes = 0
        self.version = _FIRST_VERSION
        self.pods: dict[str, dict[str, Any]] = {}
        self._events: list[tuple[int, bytes, str]] = []  # (version, line, whose: a node's name, or all)
        self._oldest = _FIRST_VERSION  # a watch from an older version is 410
        self._run = 0  # raised when all watches are to end
        self._changed = threading.Condition()
        self._is_over = False
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use_certificate(*(certificate or self.authority.certificate()))
        self._server = TlsServer(("127.0.0.1", 0), _Handler, self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    # What is in the cluster.

    def put(self, found: dict[str, Any]):
        """Make a pod, or change it."""
        with self._changed:
            uid = found["metadata"]["uid"]
            kind = "MODIFIED" if uid in self.pods else "ADDED"
            self.pods[uid] = self._versioned(found)
            self._add(kind, self.pods[uid])

    def delete(self, uid: str):
        with self._changed:
            self._add("DELETED", self._versioned(self.pods.pop(uid)))

    def bookmark(self):
        """Raise the version without a change of a pod, and say so to watches."""
        with self._changed:
            found = {"kind": "Pod", "apiVersion": "v1", "metadata": {}}
            self._add("BOOKMARK", self._versioned(found))

    def line(self, data: bytes):
        """Have all open watches say this, whatever it is."""
        with self._changed:
            self.version += 1
            self._events.append((self.version, data, ""))
            self._changed.notify_all()

    def say_gone(self):
        """The event by which a watch learns that its version is too old."""
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        self.line(json.dumps({"type": "ERROR", "object": status}).encode())

    def compact(self):
        """Forget all events so far: older versions are 410 from now on."""
        with self._changed:
            self.version += 1
            self._oldest, self._events = self.version, []

    # What happens to the server.

    def end_watches(self):
        """End all open watches as a server does whose time for them is over."""
        with self._changed:
            self._run += 1
            self._changed.notify_all()

    def cut(self):
        """End all connections at once."""
        self._server.end_connections()

    def stop(self):
        """End the server, as when its machine is off; its port refuses."""
        if not self._is_over:
            self._is_over = True
            self.end_watches()
            self._server.shutdown()
            self._server.server_close()
            self.cut()

    def start(self):
        """Begin again on the same port, with what the cluster had."""
        self._is_over = False
        self._server = TlsServer(("127.0.0.1", self.port), _Handler, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def use_certificate(self, certificate: Path, key: Path):
        self.context.load_cert_chain(certificate, key)

    def with_client_certificates(self):
        """Ask clients for a certificate, and take that instead of a token."""
        self.context.load_verify_locations(self.authority.ca_file)
        self.context.verify_mode = ssl.CERT_OPTIONAL

    def seen(self, kind: str) -> list[Request]:
        return [one for one in self.requests if one.kind == kind]

    def wait(self, seconds: float) -> bool:
        """False if the server is over, or if its fault is, before this time is."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_over or not self.fault, seconds)

    def mend(self):
        """End the fault."""
        with self._changed:
            self.fault = self.fault_at = ""
            self.is_silent = False
            self._changed.notify_all()

    # For the handler.

    def page(self, node: str, limit: int, start: int) -> bytes:
        with self._changed:
            found = self._of(node)
            limit = min(filter(None, (limit, self.page_pods)), default=len(found) + 1)
            # In a list objects have no kind of their own (recorded/list.json).
            part = [
                {key: value for key, value in one.items() if key not in ("apiVersion", "kind")}
                for one in found[start : start + limit]
            ]
            more = str(start + limit) if start + limit < len(found) else ""
            metadata = {"resourceVersion": str(self.version)} | ({"continue": more} if more else {})
            return json.dumps(
                {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": part}
            ).encode()

    def is_gone(self, version: int) -> bool:
        return version < self._oldest

    def events(self, after: int, run: int, node: str, seconds: float) -> list[tuple[int, bytes]] | None:
        """Events of a node's pods after a version, waited for; None if the watch is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_over or self._run != run or (self.version > after and not self.is_silent),
                seconds,
            )
            is_over = self._is_over or self._run != run
            found = [
                (version, line)
                for version, line, whose in self._events
                if version > after and whose in ("", node)
            ]
            if is_over and (self.is_silent or not found):
                return None
            return [] if self.is_silent else found

    @property
    def run(self) -> int:
        return self._run

    def _of(self, node: str) -> list[dict[str, Any]]:
        return [one for one in self.pods.values() if not node or one["spec"]["nodeName"] == node]

    def _versioned(self, found: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        return found | {"metadata": found["metadata"] | {"resourceVersion": str(self.version)}}

    def _add(self, kind: str, found: dict[str, Any]):
        whose = found.get("spec", {}).get("nodeName", "")
        self._events.append((self.version, json.dumps({"type": kind, "object": found}).encode(), whose))
        self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: TlsServer
    answered = 0  # requests of this connection

    @property
    def cluster(self) -> Cluster:
        return self.server.served

    def log_message(self, *_words: object):
        """Quiet."""

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        kind = _kind(parts.path, query)
        scheme, _space, token = (self.headers["Authorization"] or "").partition(" ")
        self.cluster.requests.append(Request(kind, query, token))
        fault = self.cluster.fault if self.cluster.fault_at in ("", kind) else ""
        self.answered += 1
        if fault and self.fails(fault):
            return
        is_known = scheme.lower() == "bearer" and token in self.cluster.tokens
        if not is_known and not self.connection.getpeercert():
            self.status(401)
        elif kind not in self.cluster.rights:
            self.status(403)
        elif kind == NODES:
            name = parts.path.rpartition("/")[2]
            self.send(200, b'{"kind": "Node"}') if name in self.cluster.nodes else self.status(404)
        elif kind in (LIST, KUBELET):
            limit, start = int(query.get("limit", 0)), int(query.get("continue", 0))
            self.send(
                200,
                self.cluster.page(_node(query), limit, start),
                is_dripping=fault == "drip",
                is_cut=fault == "cut",
            )
        elif kind == WATCH:
            self.watch(query)
        else:
            self.status(404)

    def fails(self, fault: str) -> bool:
        """Do what a fault says, unless it is one of the answer's body."""
        match fault:
            case "hang":
                self.cluster.wait(60)
                self.close_connection = True
            case "close-kept" if self.answered == 1:
                return False
            case "close" | "close-kept":
                self.close_connection = True
            case "redirect":
                self.status(302, {"Location": f"{self.cluster.elsewhere}{self.path}"})
            case "huge":
                self.send(200, b'{"kind": "PodList", "items": ["' + b"x" * _HUGE_BYTES + b'"]}')
            case _ if fault in BODIES:
                self.send(200, BODIES[fault])
            case _ if fault.isdigit():
                self.status(
                    int(fault), {"Retry-After": self.cluster.retry_after} if self.cluster.retry_after else {}
                )
            case _:
                return False
        return True

    def watch(self, query: dict[str, str]):
        cluster, after, run = self.cluster, int(query["resourceVersion"]), self.cluster.run
        if cluster.is_gone(after):
            self.status(410)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while (events := cluster.events(after, run, _node(query), 5)) is not None:
            for version, line in events:
                self.chunk(line if cluster.without_ends else line + b"\n")
                after = version
        self.chunk(b"")

    def chunk(self, data: bytes):
        self.cluster.sent_bytes += len(data)
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def status(self, code: int, headers: dict[str, str] | None = None):
        """As the API server says it, with a message that repeats what it shouldn't."""
        message = f"no, {self.headers['Authorization']}"
        self.send(code, json.dumps({"kind": "Status", "code": code, "message": message}).encode(), headers)

    def send(
        self,
        code: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        is_dripping=False,
        is_cut=False,
    ):
        self.send_response(code)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if is_cut:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        for place in range(len(data) if is_dripping else 0):
            self.wfile.write(data[place : place + 1])
            if not self.cluster.wait(0.02):
                self.close_connection = True
                return
        self.cluster.sent_bytes += len(data)
        self.wfile.write(data)


def _kind(path: str, query: dict[str, str]) -> str:
    if path.startswith("/api/v1/nodes/"):
        return NODES
    if path == "/api/v1/pods":
        return WATCH if query.get("watch") in ("1", "true") else LIST
    return KUBELET if path == "/pods" else path


def _node(query: dict[str, str]) -> str:
    return query.get("fieldSelector", "").removeprefix("spec.nodeName=")
