# SPDX-License-Identifier: Apache-2.0
"""The service power-bmc in a stack, and a BMC in its own network namespace, where only it can reach it."""

import os
import subprocess
import sys
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Self

from .checks import value
from .stack import ROOT, Stack

_PORT = 8443
_UID, _GID = 60610, 60600
_OVERRIDE = "bmc.yaml"
_OVERRIDE_TEXT = """
services:
  power-bmc:
    environment:
      WATTLINE_REDFISH_CA_FILE: /run/bmc.pem
      WATTLINE_REDFISH_PERIOD_S: "1"
      WATTLINE_INTERVAL_S: "1"
    volumes: ["{ca_file}:/run/bmc.pem:ro"]
"""


class Bmc:
    """`with Bmc(stack) as bmc`: started with the profile as docs/compose.md says, and the BMC after it."""

    SERVICE = "power-bmc"

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._directory = stack.engine.directory / "bmc"
        self._ca_file, self._credentials = self._directory / "ca.pem", self._directory / "credentials"

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._make_files()
            self._stack.settings |= {
                "COMPOSE_PROFILES": "bmc",
                "WATTLINE_POWER_STREAMS": f"{self.SERVICE}:{_UID}=platform",
                "WATTLINE_REDFISH_URL": f"https://127.0.0.1:{_PORT}",
                "WATTLINE_REDFISH_CREDENTIALS_FILE": str(self._credentials),
            }
            self._stack.files.append(_OVERRIDE)
            self._stack.compose("up", "--detach", "--build")
            process = undo.enter_context(self._start())
            undo.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline(), "the BMC didn't start"
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._undo.close()

    def _make_files(self) -> None:
        """Before the BMC, which fills them, can be in the container's network, the container mounts them."""
        self._directory.mkdir()
        for path in (self._ca_file, self._credentials):
            path.touch(mode=0o600)
        os.chown(self._credentials, _UID, _GID)
        self._ca_file.chmod(0o644)
        text = _OVERRIDE_TEXT.format(ca_file=self._ca_file)
        (self._stack.checkout / _OVERRIDE).write_text(text, encoding="ascii")

    def _start(self) -> subprocess.Popen:
        network = f"--net=/proc/{self._stack.pid(self.SERVICE)}/ns/net"
        program = [sys.executable, "-m", "tests.power.redfish.bmc"]
        return subprocess.Popen(
            ["nsenter", network, *program, "--directory", str(self._directory), "--port", str(_PORT)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def joules(self, series) -> Decimal:
        return value(series, "kepler_node_platform_joules_total", source="redfish")

    def password_places(self) -> list[str]:
        """Where the password can be seen beside its file: its process, logs, frames."""
        password = self._credentials.read_text(encoding="utf-8").splitlines()[1].encode()
        pid = self._stack.pid(self.SERVICE)
        places = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ")]
        places += [path for path in self._stack.run.rglob("*") if path.is_file()]
        found = [str(path) for path in places if password in path.read_bytes()]
        logs = self._stack.compose("logs", "--no-color").encode()
        return found + ["logs"] * (password in logs)
