# SPDX-License-Identifier: Apache-2.0
"""Wattline under Compose, from a clean checkout, on a simulated meter."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Self

from tests.machine.simulated_rapl import IDLE_POWER, SimulatedRapl
from tests.pipeline.metrics import Series, read
from wattline.cgroup2 import find_mount
from wattline.pipeline import SERVICES
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .base_image import import_base
from .engine import Engine

ROOT = Path(__file__).parents[2]
PROJECT = "wattline"
COMPOSE_2 = Path(sys.executable).with_name("docker-compose-2")


class Stack:
    """`with Stack(engine)`: nothing is started yet but the meter. `compose_2`: by Compose v2."""

    def __init__(self, engine: Engine, *, compose_2: bool = False) -> None:
        self.engine = engine
        self._compose = str(COMPOSE_2) if compose_2 else "docker-compose"
        self.checkout = engine.directory / "checkout"
        self.run = engine.directory / f"data/volumes/{PROJECT}_run/_data"  # WATTLINE_RUN as the host sees it
        self.pins = engine.directory / f"data/volumes/{PROJECT}_pins/_data"
        self.address = f"127.0.0.1:{_free_port()}"
        self.files = ["compose.yaml"]
        self.settings = {
            "WATTLINE_WEB_PORT": self.address.partition(":")[2],
            "WATTLINE_NODE": "compose-test",
            "WATTLINE_CGROUP2": str(find_mount(Path("/proc"))),
            # What Debian's Docker calls these: docs/install.md.
            "WATTLINE_CAP_BPF": "SYS_ADMIN",
            "WATTLINE_CAP_PERFMON": "CAP_SYS_ADMIN",
            "SIMULATED_SYSFS": str(engine.directory / "sys"),
            # Told, not learned: while it is being learned, whoever runs gets some of it.
            "SIMULATED_IDLE_POWER": IDLE_POWER,
        }
        # As tests.pipeline.services knows an exporter: by what its log says.
        self.exporter = SimpleNamespace(log=f"listening address={self.address} ")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._check_out()
            import_base(self.engine.docker)
            self.rapl = stack.enter_context(SimulatedRapl(self.engine.directory / "sys"))
            stack.callback(self.compose, "down", "--volumes", check=False)
            self._close = stack.pop_all().close
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def _check_out(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for name in listed:
            if (ROOT / name).is_file():
                target = self.checkout / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)

    def start_compose(self, *arguments: str) -> subprocess.Popen:
        """A compose command that is left running."""
        files = [*self.files, "tests/compose/override.yaml"]
        command = [self._compose, "-p", PROJECT, *(word for file in files for word in ("-f", file))]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.checkout,
            env=self.engine.environment | self.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What a compose command said."""
        process = self.start_compose(*arguments)
        output, _ = process.communicate(timeout=900)
        if check and process.returncode:
            raise AssertionError(f"docker-compose {arguments}:\n{output}")
        return output

    def name_of(self, service: str) -> str:
        """What Docker calls a service's container: Compose v1 and v2 name them differently."""
        return self.inspect(service)["Name"].removeprefix("/")

    def container(self, service: str) -> str:
        """Its id."""
        return self.compose("ps", "--quiet", service).strip()

    def containers(self) -> dict[str, str]:
        """Ids by service."""
        return {service: self.container(service) for service in SERVICES}

    def inspect(self, service: str) -> dict:
        """What Docker says of a service's container."""
        return json.loads(self.engine.docker("inspect", self.container(service)))[0]

    def pid(self, service: str) -> int:
        """Of its main process, as the host has it.

        Errors: LookupError if it isn't running; Docker says 0 then, and a signal to 0 would end the tests.
        """
        state = self.inspect(service)["State"]
        if not state["Pid"]:
            raise LookupError(f"{service} isn't running: {state}")
        return state["Pid"]

    def is_replaced(self, service: str, pid: int) -> bool:
        """Whether its container runs again, with another main process than that one."""
        return self.inspect(service)["State"]["Pid"] not in (0, pid)

    def fetch(self) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as response:
            return response.read()

    def scrape(self) -> list[Series]:
        return read(self.fetch())

    def has_published_since(self, service: str, mono_ns: int) -> bool:
        """Whether there is a frame of a service later than a time."""
        last = read_last(ServiceDirectory(self.run, service))
        return last is not None and last.mono_ns > mono_ns

    def python(self, service: str, script: str) -> str:
        """What a script says in a service's container, as its user. There is no shell in it."""
        return self.engine.docker("exec", self.container(service), "python3", "-c", script)


def _free_port() -> int:
    """A port outside the range for port 0, so that it stays free between two containers of ours."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for port in range(1024 + os.getpid() % (low - 1024), low):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port below {low} is free")


def wait_until(what: str, condition, seconds: float = 60):
    """The first true value of a condition, which may fail with OSError meanwhile."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
        except OSError as error:
            what = f"{what.partition(' (')[0]} ({error})"
        assert time.monotonic() < deadline_s, f"{what}: not within {seconds} s"
        time.sleep(0.2)
