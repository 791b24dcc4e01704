# SPDX-License-Identifier: Apache-2.0
"""A BMC: Redfish over TLS with sessions and basic authentication, a live law of power, and faults on demand.

python -m tests.power.redfish.bmc --directory DIR --layout environment-energy

prints one line of JSON (url, ca_file, credentials_file) when it is ready. Lines on its standard input are a
fault (`fault hang`, `fault` for none), `reboot SECONDS`, `expire` or `exit`; it ends with its input too.
"""

import argparse
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tests.tls_server import TlsServer

from .authority import Authority
from .law import Law, S
from .server import Handler
from .shapes import LAYOUTS, Readings, Tree

_UJ_PER_KWH = 3_600_000_000_000


@dataclass
class Bmc:
    """`offset_ns`: its clock since 1970 less `now_ns`. `renewal_ns`: how often it renews its figures.

    `fault` is one of server.py's FIGURES and BODIES, an HTTP status, or hang, drip, redirect-here,
    redirect-slash, redirect-away, stale, missing, gone (no such resource). It concerns the resources of
    chassis, and with `everywhere` all others as well.
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
    hang_up: str = ""  # after each answer: said (by a header) or silent
    elsewhere: str = "https://127.0.0.1:1"
    extra: Tree = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    logins: int = 0
    refused: int = 0
    most_sessions: int = 0
    connections: int = 0
    seen: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _frozen: Readings | None = None
    _released: threading.Event = field(default_factory=threading.Event)
    _server: TlsServer | None = None
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
        self._server = TlsServer(("127.0.0.1", self.port), Handler, self)
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
