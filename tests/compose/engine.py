# SPDX-License-Identifier: Apache-2.0
"""A Docker Engine of our own, beside whatever runs on this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.hygiene.started import become_subreaper
from wattline.mounts import mounts

# Docker's own programs, not what else may be called so in front of them.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_START_S = 60
_STOP_S = 60


class Engine:
    """`with Engine() as engine`: started, and at the end stopped and removed with all that it had."""

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix=f"wl-docker-{os.getpid()}-", dir="/var/tmp"))
        self.cgroup = Path(self.directory.name) / "docker"  # in each hierarchy; as an engine's own is called
        socket = f"unix://{self.directory}/socket"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")},
            "PATH": _PATH,
            "DOCKER_HOST": socket,
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "HOME": str(self.directory),  # nobody's settings
        }
        self._log = (self.directory / "log").open("wb")
        # It changes nothing in the machine's firewall; networks of its own it can have all the same.
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM"),
                *(
                    "dockerd",
                    "--data-root",
                    f"{self.directory}/data",
                    "--exec-root",
                    f"{self.directory}/exec",
                ),
                *("-p", f"{self.directory}/pid", "-H", socket, "--storage-driver", "overlay2"),
                *("--iptables=false", "--ip6tables=false", "--bridge=none"),
                # As its default is where cgroup2 is all there is; the host's hides less.
                *("--default-cgroupns-mode", "private"),
                *("--cgroup-parent", f"/{self.cgroup}"),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=become_subreaper,  # what its containers' processes leave is its own, not pytest's
        )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_ready(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while self._run(["docker", "version"], check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError((self.directory / "log").read_text(encoding="utf-8")[-3000:])
            time.sleep(0.2)

    def __exit__(self, *_exception: object) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                for container in self.docker("ps", "--all", "--quiet").split():
                    self.docker("rm", "--force", container)
                self.docker("network", "prune", "--force")
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        for mount in self.mounts():
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.directory)
        self._remove_cgroups()

    def mounts(self) -> list[str]:
        """Where something is mounted in its directory, the innermost first."""
        return sorted(
            (str(place) for place, _kind in mounts() if self.directory in place.parents), reverse=True
        )

    def docker(self, *arguments: str, check: bool = True) -> str:
        """The output of a docker command."""
        return self._run(["docker", *arguments], check=check).stdout

    def _run(self, command, *, check: bool):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if check and result.returncode:
            print(result.stdout, result.stderr)
            result.check_returncode()
        return result

    def _remove_cgroups(self) -> None:
        """Those that the engine leaves empty: its builder's, and the parents of all."""
        for mount in (place for place, kind in mounts() if kind in ("cgroup", "cgroup2")):
            for path in (self.cgroup / "buildkit", self.cgroup, self.cgroup.parent):
                with contextlib.suppress(FileNotFoundError):
                    (mount / path).rmdir()
