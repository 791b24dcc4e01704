# SPDX-License-Identifier: Apache-2.0
"""A whole Wattline under `wattline up`, as its user sees it: its log, its metrics, its processes."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Self

from wattline.pipeline import SERVICES

from .metrics import Series, read


class Pipeline:
    """`with Pipeline(...)`: five services on their own run directory, pins and port."""

    def __init__(
        self,
        run_directory: Path,
        pin_path: Path,
        flags=(),
        command=(sys.executable, "-m", "wattline.cli"),
        directory: Path | None = None,
        **settings: str,
    ) -> None:
        """`command`: what runs Wattline's command line, in the current directory or in `directory`."""
        self.run = run_directory
        self.pins = pin_path
        self.log: list[str] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")},
            "WATTLINE_RUN": str(run_directory),
            "WATTLINE_PROBE_PIN_PATH": str(pin_path),
            "WATTLINE_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
            **{f"WATTLINE_{name.upper()}": value for name, value in settings.items()},
        }
        self._command = [*command, "up", *flags]
        self._directory = directory

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self.environment,
            cwd=self._directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(20)
            self.process.stdout.close()
            if _exception[0] is not None:
                print("\n".join(self.log))

    def _read_log(self) -> None:
        self.log.extend(line.rstrip("\n") for line in self.process.stdout)

    def said(self, pattern: str) -> list[str]:
        """Lines of the log that match."""
        return [line for line in list(self.log) if re.search(pattern, line)]

    def wait_until(self, condition, seconds: float = 30):
        """The condition's first true value; an AssertionError with the log if none comes in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            assert self.process.poll() is None, "up ended:\n" + "\n".join(self.log)
            time.sleep(0.05)
        raise AssertionError("did not happen in time; log:\n" + "\n".join(self.log))

    def pid(self, service: str) -> int:
        return int((self.run / service / "pid").read_text(encoding="ascii"))

    def pids(self) -> dict[str, int]:
        return {service: self.pid(service) for service in SERVICES}

    def wattline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of Wattline's, with the same settings."""
        return subprocess.run(
            [sys.executable, "-m", "wattline.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    @property
    def url(self) -> str:
        lines = self.wait_until(lambda: self.said(r"exporter .* listening address="))
        return "http://" + re.search(r"address=(\S+)", lines[-1])[1]

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return response.read()

    def scrape(self) -> list[Series]:
        return read(self.fetch("/metrics"))

    def wait_ready(self) -> None:
        """Until /-/ready says so."""

        def ready():
            try:
                return self.fetch("/-/ready")
            except OSError:
                return None

        self.wait_until(ready)
