# SPDX-License-Identifier: Apache-2.0
"""Services started one by one, each as a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .metrics import Series, read


class Service:
    """One running service; ended with SIGTERM at the end, if it still runs."""

    def __init__(self, command, run: Path, **settings: str) -> None:
        self._command = command
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 closed by stop()
        self._environment = os.environ | {
            "WATTLINE_RUN": str(run),
            **{f"WATTLINE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self._command],
            env=self._environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Forget its log."""
        self._output.close()

    @property
    def log(self) -> str:
        return os.pread(self._output.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def stop(self) -> bool:
        """End it; False if it had to be killed, since it did not end within ten seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
                return False
        return True


@contextmanager
def services():
    """Gives a function that starts one; all are stopped at the end, the last started first."""
    started = []

    def start(command, run: Path, **settings: str) -> Service:
        service = Service(command.split() if isinstance(command, str) else command, run, **settings)
        started.append(service)
        return service

    try:
        yield start
    except BaseException:
        for service in started:
            print(service.log)
        raise
    finally:
        late = [service for service in reversed(started) if not service.stop()]
        logs = [service.log[-2000:] for service in late]
        for service in started:
            service.close()
        assert not late, logs


def frame_after(run: Path, service: str, mono_ns: int, seconds: float = 20):
    """The first frame of a service later than a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        last = read_last(ServiceDirectory(run, service))
        if last is not None and last.mono_ns > mono_ns:
            return last
        time.sleep(0.02)
    raise AssertionError(f"no frame of {service} came")


def scrape(exporter: Service) -> list[Series]:
    """The exporter's metrics."""
    return read(fetch(exporter))


def fetch(exporter: Service) -> bytes:
    """The text of the exporter's metrics, from where its log says last that it listens."""
    deadline = time.monotonic() + 20
    while "listening address=" not in exporter.log:
        assert time.monotonic() < deadline, exporter.log
        time.sleep(0.05)
    address = exporter.log.split("listening address=")[-1].split()[0]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        return response.read()
