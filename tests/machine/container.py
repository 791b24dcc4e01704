# SPDX-License-Identifier: Apache-2.0
"""A real container by runc in the cgroup2 hierarchy, at Docker's path below a cgroup of its own."""

import contextlib
import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Self

from tests.hygiene.names import own_name
from wattline.mounts import mounts

_BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static: needs nothing but itself


def cgroup2_mount() -> Path:
    return next(place for place, kind in mounts() if kind == "cgroup2")


class Container:
    """`with Container(directory, "script")`: a shell script in a container of its own.

    `cpu`: the only one that it may run on. `parent`: the cgroup, below the hierarchy's mount, in which its
    own is made; the caller removes it. The container may end by itself. With `is_pause` its process is
    called `pause`, as that of a pod's sandbox is.
    """

    # On a hybrid host runc would use the cgroup v1 controllers: in a mount namespace of its own it is shown
    # cgroup2 ($1) where it expects it.
    _VIEW = 'mount --bind "$1" /sys/fs/cgroup; shift; exec "$@"'

    def __init__(
        self,
        directory: Path,
        script: str,
        cpu: int | None = None,
        parent: Path | None = None,
        *,
        is_pause: bool = False,
    ) -> None:
        self._pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        self.container_id = uuid.uuid4().hex * 2  # 64 hex digits, as Docker's
        self._directory = directory / self.container_id[:12]
        self._script = "exec -a sleep /bin/pause 1000000" if is_pause else script
        # Nothing that another's container has in common: "docker" goes with ours.
        self._is_own = parent is None
        self._path = (parent or Path(own_name()) / "docker") / self.container_id
        self.cgroup = cgroup2_mount() / self._path

    def __enter__(self) -> Self:
        binaries = self._directory / "rootfs" / "bin"
        binaries.mkdir(parents=True)
        shutil.copy(_BUSYBOX, binaries)
        for name in ("sh", "pause"):  # a process is called as its file is
            (binaries / name).symlink_to("busybox")
        subprocess.run(["runc", "spec"], cwd=self._directory, check=True)
        file = self._directory / "config.json"
        file.write_text(
            json.dumps(self._config(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8"
        )
        runc = ["runc", "--root", str(self._directory / "state"), "run", "--bundle", str(self._directory)]
        self._process = subprocess.Popen(
            [
                *self._pinned,
                "unshare",
                "-m",
                "sh",
                "-c",
                self._VIEW,
                "sh",
                str(cgroup2_mount()),
                *runc,
                self.container_id[:12],
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = self._process.stdout.readline()
        if first != "running\n":
            self._process.kill()
            rest, _errors = self._process.communicate()
            raise RuntimeError(f"runc could not start a container: {first}{rest}")
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()
        self._process.communicate(timeout=20)
        if self.cgroup.exists():
            self.cgroup.rmdir()
        if self._is_own:
            for parent in list(self.cgroup.parents)[:2]:
                parent.rmdir()

    def kill(self) -> None:
        """End its processes; runc then removes its cgroup."""
        with contextlib.suppress(FileNotFoundError):  # it has ended by itself
            (self.cgroup / "cgroup.kill").write_text("1", encoding="ascii")

    def wait(self, timeout_s: float = 60) -> None:
        """Until it has ended, and its cgroup is removed."""
        self._process.wait(timeout_s)

    def line(self) -> str:
        """The next line that the script prints."""
        return self._process.stdout.readline()

    def _config(self, config):
        config["process"] |= {
            "terminal": False,
            "args": ["/bin/sh", "-c", f"echo running\n{self._script}"],
        }
        config["process"].pop("rlimits", None)
        linux = config["linux"]
        linux["cgroupsPath"] = f"/{self._path}"
        linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "cgroup"]
        linux.pop("resources", None)
        return config
