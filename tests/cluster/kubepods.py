# SPDX-License-Identifier: Apache-2.0
"""Pods' containers on this machine: real ones by runc, at the paths that a kubelet gives them.

All lie below a cgroup of our own, as those of a kubelet in a container do (kind).
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Self

from tests.hygiene.names import own_name
from tests.machine.container import Container, cgroup2_mount

_GRACE_S = 10.0
_QOS = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}
# Some hundred milliseconds of a CPU, then still.
WORK = "i=0; while [ $i -lt {turns} ]; do i=$((i+1)); done; exec sleep 1000000"
# Busy for as long as it lives.
BUSY = "while :; do :; done"


class Kubepods:
    """`with Kubepods(directory) as pods`: containers that are left are ended, and all cgroups removed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = Path(own_name())
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()
        top = cgroup2_mount() / self._own
        deadline_s = time.monotonic() + _GRACE_S
        for directory, _directories, _files in os.walk(top, topdown=False):
            while Path(directory).exists() and time.monotonic() < deadline_s:
                with contextlib.suppress(OSError):  # what was killed is still in it
                    os.rmdir(directory)  # noqa: PTH106 as os.walk gives it
                    break
                time.sleep(0.01)

    def path(self, uid: str, qos: str = "BestEffort") -> Path:
        """A pod's cgroup, below the hierarchy's mount; `uid` as it stands there."""
        return self._own / "kubepods" / _QOS[qos] / f"pod{uid}"

    def run(self, uid: str, script: str = BUSY, qos: str = "BestEffort", **options) -> Container:
        """One more container of a pod; it runs."""
        container = Container(self._directory, script, parent=self.path(uid, qos), **options)
        return self._stack.enter_context(container)

    def pause(self, uid: str, qos: str = "BestEffort") -> Container:
        """A pod's sandbox."""
        return self.run(uid, "", qos, is_pause=True)
