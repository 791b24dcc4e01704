# SPDX-License-Identifier: Apache-2.0
"""The five services under `wattline up`, on a run directory, pins and a port of their own."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from wattline import isolated
from wattline.errors import Fatal
from wattline.temporary import SELFTEST_PREFIX

from .scrape import Series, read

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 a private directory is made in it
_BPF_FILES = Path("/sys/fs/bpf")
_STOP_S = 30.0  # longer than `up` may take to stop its five
_POLL_S = 0.2
_LISTENING = re.compile(r"listening address=(\S+)")
_LOG_LINES = 30
_Value = TypeVar("_Value")


class Pipeline:
    """What its user sees of it: its metrics, and its log if it fails."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def scrape(self) -> list[Series]:
        """All metrics. Raises OSError while there is no server."""
        return read(self._fetch("/metrics"))

    def wait_until(self, what: str, condition: Callable[[], _Value | None], timeout_s: float) -> _Value:
        """The condition's first value that isn't None. Raises Fatal, with the log's end, if none comes."""
        deadline_s = time.monotonic() + timeout_s
        while self._process.poll() is None:
            with contextlib.suppress(OSError):
                value = condition()
                if value is not None:
                    return value
            if time.monotonic() > deadline_s:
                raise Fatal(
                    f"{what}: not within {timeout_s:.0f} s; the services' log ends:\n{self._log_end()}"
                )
            time.sleep(_POLL_S)
        raise Fatal(f"the services ended (exit code {self._process.returncode}):\n{self._log_end()}")

    def is_ready(self) -> bool | None:
        """True once all is fresh."""
        return True if self._fetch("/-/ready") else None

    def _fetch(self, path: str) -> bytes:
        addresses = _LISTENING.findall(self._log.read_text(encoding="utf-8", errors="replace"))
        if not addresses:
            raise ConnectionRefusedError("the exporter does not listen yet")
        with urllib.request.urlopen(f"http://{addresses[-1]}{path}", timeout=10) as response:
            body: bytes = response.read()
            return body

    def _log_end(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


@contextlib.contextmanager
def running(sysfs: Path, settings: str) -> Iterator[Pipeline]:
    """Started at `with`, all stopped and removed at its end. `settings`: as in a settings file."""
    run = Path(tempfile.mkdtemp(prefix=f"{SELFTEST_PREFIX}{os.getpid()}-", dir=_SHARED_MEMORY))
    pins = _BPF_FILES / run.name
    try:
        run.chmod(0o755)  # the services are users of their own
        config, log = run / "wattline.toml", run / "log"
        config.write_text(settings, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
        environment |= {
            "WATTLINE_CONFIG": str(config),
            "WATTLINE_RUN": str(run),
            "WATTLINE_PROBE_PIN_PATH": str(pins),
            "WATTLINE_PATH_SYSFS": str(sysfs),
            "WATTLINE_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        }
        up = isolated.command("wattline.cli", "up")
        with log.open("wb") as output:
            process = subprocess.Popen(
                isolated.command("wattline.selftest.dying", *up),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            )
        try:
            yield Pipeline(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(pins, ignore_errors=True)
