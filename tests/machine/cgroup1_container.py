# SPDX-License-Identifier: Apache-2.0
"""A real container by runc that only cgroup v1 knows: its processes stay in cgroup2's root."""

import subprocess
from pathlib import Path

from .container import Container

_CGROUP1 = Path("/sys/fs/cgroup")  # where a hybrid host mounts the v1 hierarchies


class Cgroup1Container(Container):
    """As Container, on a machine with v1 hierarchies."""

    # runc would put it into cgroup2 as well: in a mount namespace of its own it finds none.
    _VIEW = 'umount "$1"; shift; exec "$@"'

    def __exit__(self, *_exception: object) -> None:
        runc = ["runc", "--root", str(self._directory / "state")]
        subprocess.run([*runc, "delete", "--force", self.container_id[:12]], check=True)
        self._process.communicate(timeout=20)
        for parent in _CGROUP1.glob(f"*/{self._path.parent}"):
            parent.rmdir()
            parent.parent.rmdir()

    def pids(self) -> list[int]:
        """Processes in it, as cgroup v1 has them."""
        procs = _CGROUP1 / "pids" / self._path / "cgroup.procs"
        return [int(line) for line in procs.read_text(encoding="ascii").split()]

    def cpu_ns(self) -> int:
        """Its CPU time, as cgroup v1 has it."""
        account = _CGROUP1 / "cpuacct" / self._path / "cpuacct.usage"
        return int(account.read_text(encoding="ascii"))
