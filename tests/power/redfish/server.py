# SPDX-License-Identifier: Apache-2.0
"""The fake BMC's web server: sessions, basic authentication, resources, and each fault."""

import base64
import json
import secrets
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.tls_server import TlsServer

from .law import S
from .shapes import V1

SESSIONS = f"{V1}/SessionService/Sessions"
_SESSIONS_MAX = 4
_HUGE_BYTES = 8 * 1024 * 1024
# Faults by what they replace the figure with.
FIGURES: dict[str, Any] = {
    "absurd": 1e9,
    "sentinel": 65535,
    "negative": -1,
    "null": None,
    "string": "212",
    "bool": True,
    "nested": {"Reading": 1},
}
BODIES = {
    "invalid": b'{"Id": "Self", ',
    "nan": b'{"PowerWatts": {"Reading": NaN}}',
    "list": b"[]",
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "huge": b'{"a":"' + b"x" * _HUGE_BYTES + b'"}',
    "empty": b"",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: TlsServer

    @property
    def bmc(self) -> Any:
        return self.server.served

    def log_message(self, *_words: object):
        """Quiet."""

    def date_time_string(self, _timestamp=None):
        return formatdate((self.bmc.now_ns() + self.bmc.offset_ns) // S, usegmt=True)

    def do_GET(self):
        self.bmc.seen.append(f"GET {self.path}")
        fault = self.bmc.fault if self.bmc.everywhere or "/Chassis" in self.path else ""
        if fault == "hang":
            self.bmc.wait(60)
            self.close_connection = True
        elif (place := self.other_place(fault)) is not None:
            self.answer(307, {}, {"Location": place})
        elif self.path.rstrip("/") != V1 and not self.is_known():
            self.answer(401, {"error": {"message": f"who is {self.headers}?"}})
        elif fault.isdigit():
            extra = {"Retry-After": self.bmc.retry_after} if self.bmc.retry_after else {}
            self.answer(int(fault), {"error": {"message": f"no {self.headers}"}}, extra)
        else:
            self.resource(self.path.removesuffix("_here").rstrip("/"), fault)

    def other_place(self, fault: str) -> str | None:
        """Where a fault redirects to."""
        match fault:
            case "redirect-here" if not self.path.endswith("_here"):
                return f"{self.path}_here"
            case "redirect-slash" if not self.path.endswith("/"):
                return f"{self.path}/"
            case "redirect-away":
                return f"{self.bmc.elsewhere}{self.path}"
        return None

    def resource(self, path: str, fault: str):
        body = self.bmc.tree().get(path)
        is_metric = body is not None and path.count("/") > 4
        if body is None or (fault == "gone" and is_metric):
            self.answer(404, {"error": {}})
        elif is_metric and fault in BODIES:
            self.send(200, BODIES[fault])
        elif is_metric and (fault in FIGURES or fault == "missing"):
            self.answer(200, _spoiled(body, fault))
        else:
            self.answer(200, body)

    def do_POST(self):
        self.bmc.seen.append(f"POST {self.path}")
        if self.bmc.fault == "hang" and self.bmc.everywhere:
            self.bmc.wait(60)
            self.close_connection = True
            return
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (given.get("UserName"), given.get("Password")) != (self.bmc.user, self.bmc.password):
            self.bmc.refused += 1
            self.answer(401, {"error": {"message": f"no such account: {given}"}})
        elif len(self.bmc.sessions) >= _SESSIONS_MAX:
            self.answer(503, {"error": {"code": "Base.1.8.SessionLimitExceeded"}})
        else:
            token, number = secrets.token_hex(16), str(self.bmc.logins)
            self.bmc.sessions[token] = number
            self.bmc.logins += 1
            self.bmc.most_sessions = max(self.bmc.most_sessions, len(self.bmc.sessions))
            self.answer(201, {"Id": number}, {"X-Auth-Token": token, "Location": f"{SESSIONS}/{number}"})

    def do_DELETE(self):
        self.bmc.seen.append(f"DELETE {self.path}")
        if self.bmc.fault == "hang" and self.bmc.everywhere:
            self.bmc.wait(60)
            return
        if not self.is_known():
            self.answer(401, {})
            return
        number = self.path.rpartition("/")[2]
        self.bmc.sessions = {token: one for token, one in self.bmc.sessions.items() if one != number}
        self.answer(200, {})

    def is_known(self) -> bool:
        plain = f"{self.bmc.user}:{self.bmc.password}".encode()
        basic = f"Basic {base64.b64encode(plain).decode('ascii')}"
        return self.headers["X-Auth-Token"] in self.bmc.sessions or self.headers["Authorization"] == basic

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None):
        self.send(status, json.dumps(body).encode(), headers)

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        if self.bmc.hang_up:
            self.close_connection = True
        if self.bmc.hang_up == "said":
            self.send_header("Connection", "close")
        self.end_headers()
        if self.bmc.fault == "drip" and "/Chassis" in self.path:
            for place in range(len(data)):
                self.wfile.write(data[place : place + 1])
                if not self.bmc.wait(0.05):
                    return
        self.wfile.write(data)


def _spoiled(body: Any, fault: str) -> Any:
    """A resource whose figures are replaced or left out."""
    if isinstance(body, list):
        return [_spoiled(one, fault) for one in body]
    if not isinstance(body, dict):
        return body
    spoiled = {}
    for name, value in body.items():
        if name.endswith(("Reading", "Watts")) and not isinstance(value, dict):
            if fault != "missing":
                spoiled[name] = FIGURES[fault]
        else:
            spoiled[name] = _spoiled(value, fault)
    return spoiled
