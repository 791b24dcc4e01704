# SPDX-License-Identifier: Apache-2.0
"""A BMC: Redfish over TLS with sessions and basic authentication, a live law of power, and faults on demand.

python -m tests.power.redfish.bmc --directory DIR --layout environment-energy

prints one line of JSON (url, ca_file, credentials_file) when it is ready. Lines on its standard input are a
fault (`fault hang`, `fault` for none), `reboot SECONDS`, `expire` or `exit`; it ends with its input too.
"""

import argparse
import base64
import contextlib
import json
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from .authority import Authority
from .shapes import LAYOUTS, V1, Readings, Tree

S = 1_000_000_000
SESSIONS = f"{V1}/SessionService/Sessions"
_SESSIONS_MAX = 4
_UJ_PER_KWH = 3_600_000_000_000
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


@dataclass
class Law:
    """Power that goes up and down in straight lines, from `low_uw` to `low_uw + swing_uw` in `half_ns`."""

    low_uw: int = 200_000_000
    swing_uw: int = 0
    half_ns: int = 60 * S

    def power_uw(self, mono_ns: int) -> int:
        """At an instant."""
        way = mono_ns % (2 * self.half_ns)
        return self.low_uw + self.swing_uw * min(way, 2 * self.half_ns - way) // self.half_ns

    def energy_uj(self, mono_ns: int) -> int:
        """Since the clock's 0, exactly but for rounding."""
        turns, way = divmod(mono_ns, 2 * self.half_ns)
        back = 2 * self.half_ns - way
        # Twice the area under the triangle, in ns², over 2 × half_ns.
        twice = way**2 if way <= self.half_ns else 2 * self.half_ns**2 - back**2
        whole = turns * 2 * self.half_ns**2
        return (self.low_uw * mono_ns + self.swing_uw * (whole + twice) // (2 * self.half_ns)) // S


@dataclass
class Bmc:
    """`offset_ns`: its clock since 1970 less `now_ns`. `renewal_ns`: how often it renews its figures.

    `fault` is one of FIGURES and BODIES, an HTTP status, or hang, drip, redirect-here, redirect-away, stale,
    missing, gone (no such resource). It is that of chassis' resources, with `everywhere` of all others too.
    """

    authority: Authority
    layout: str = "environment"
    law: Law = field(default_factory=Law)
    now_ns: Callable[[], int] = time.monotonic_ns
    offset_ns: int = 1_700_000_000 * S
    user: str = "reader"
    password: str = "correct horse"  # noqa: S105 of nothing
    digits: int = 1
    renewal_ns: int = 0
    fault: str = ""
    everywhere: bool = False
    retry_after: str = ""
    elsewhere: str = "https://127.0.0.1:1"
    extra: Tree = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    logins: int = 0
    refused: int = 0
    most_sessions: int = 0
    seen: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _frozen: Readings | None = None
    _released: threading.Event = field(default_factory=threading.Event)
    _server: "_Server | None" = None
    _thread: threading.Thread | None = None
    port: int = 0

    def __enter__(self) -> Self:
        self.use(*self.authority.certificate())
        self.up()
        return self

    def __exit__(self, *_error: object):
        self.down()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def use(self, certificate: Path, key: Path):
        """Show this certificate from now on."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def up(self):
        """Start, on the same port as before; whoever was logged in isn't any more."""
        self._released.clear()
        self.sessions.clear()
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def down(self):
        """Stop, and end what hangs."""
        if self._server is not None:
            self._released.set()
            self._server.shutdown()
            self._server.end_connections()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def readings(self) -> Readings:
        """What it shows now."""
        if self.fault == "stale" and self._frozen is not None:
            return self._frozen
        at_ns = self.now_ns()
        if self.renewal_ns:
            at_ns -= at_ns % self.renewal_ns
        time_ns = at_ns + self.offset_ns
        stamp = datetime.fromtimestamp(time_ns // S, UTC).replace(microsecond=time_ns % S // 1000).isoformat()
        watts = (
            round(self.law.power_uw(at_ns) / 1e6, self.digits)
            if self.digits
            else self.law.power_uw(at_ns) // 10**6
        )
        self._frozen = Readings(watts, self.law.energy_uj(at_ns) // (_UJ_PER_KWH // 1000) / 1000, stamp)
        if self.layout == "sensors-energy":
            self._frozen = Readings(watts, self.law.energy_uj(at_ns) / _UJ_PER_KWH, stamp)
        return self._frozen

    def tree(self) -> Tree:
        return LAYOUTS[self.layout](self.readings()) | self.extra

    def wait(self, seconds: float) -> bool:
        """False if the BMC goes down meanwhile."""
        return not self._released.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, place: tuple[str, int], bmc: Bmc):
        self.bmc = bmc
        self._open: set[ssl.SSLSocket] = set()
        super().__init__(place, _Handler)

    def finish_request(self, request, client_address):
        request.settimeout(10)
        with contextlib.suppress(OSError), self.bmc.context.wrap_socket(request, server_side=True) as secure:
            self._open.add(secure)
            try:
                super().finish_request(secure, client_address)
            finally:
                self._open.discard(secure)

    def end_connections(self):
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(2)

    def handle_error(self, request, client_address):
        """A client that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def bmc(self) -> Bmc:
        return self.server.bmc

    def log_message(self, *_words: object):
        """Quiet."""

    def date_time_string(self, _timestamp=None):
        return formatdate((self.bmc.now_ns() + self.bmc.offset_ns) // S, usegmt=True)

    def do_GET(self):
        self.bmc.seen.append(f"GET {self.path}")
        fault = self.bmc.fault
        if fault and (self.bmc.everywhere or "/Chassis" in self.path):
            if fault == "hang":
                self.bmc.wait(60)
                self.close_connection = True
                return
            if fault == "redirect-here" and not self.path.endswith("_here"):
                self.answer(307, {}, {"Location": f"{self.path}_here"})
                return
            if fault == "redirect-away":
                self.answer(307, {}, {"Location": f"{self.bmc.elsewhere}{self.path}"})
                return
        path = self.path.removesuffix("_here").rstrip("/")
        if path != V1 and not self.is_known():
            self.answer(401, {"error": {"message": f"who is {self.headers}?"}})
            return
        if fault.isdigit() and (self.bmc.everywhere or "/Chassis" in self.path):
            extra = {"Retry-After": self.bmc.retry_after} if self.bmc.retry_after else {}
            self.answer(int(fault), {"error": {"message": f"no {self.headers}"}}, extra)
            return
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


def _main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--layout", choices=LAYOUTS, default="environment-energy")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--low-w", type=int, default=200)
    parser.add_argument("--swing-w", type=int, default=100)
    parser.add_argument("--half-s", type=float, default=30)
    parser.add_argument("--renewal-s", type=float, default=0)
    parser.add_argument("--clock-offset-s", type=float, default=-7 * 3600, help="how wrong its clock is")
    given = parser.parse_args()
    law = Law(given.low_w * 10**6, given.swing_w * 10**6, round(given.half_s * S))
    offset_ns = time.time_ns() - time.monotonic_ns() + round(given.clock_offset_s * S)
    bmc = Bmc(Authority(given.directory), given.layout, law, offset_ns=offset_ns, port=given.port)
    bmc.renewal_ns = round(given.renewal_s * S)
    account = given.directory / "credentials"
    account.touch(mode=0o600)
    account.write_text(f"{bmc.user}\n{bmc.password}\n", encoding="utf-8")
    with bmc:
        ready = {"url": bmc.url, "ca_file": str(bmc.authority.ca_file), "credentials_file": str(account)}
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            words = line.split()
            if words[:1] == ["exit"]:
                break
            if words[:1] == ["reboot"]:
                bmc.down()
                time.sleep(float(words[1]))
                bmc.up()
            elif words[:1] == ["expire"]:
                bmc.sessions.clear()
            elif words[:1] == ["fault"]:
                bmc.fault = words[1] if len(words) > 1 else ""


if __name__ == "__main__":
    _main()
