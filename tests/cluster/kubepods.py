# SPDX-License-Identifier: Apache-2.0
"""Pods' containers on this machine: real ones by runc, at the paths that a kubelet gives them.

All lie below a cgroup of our own, as those of a kubelet in a container do (kind).
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.hygiene.names import own_name
from tests.machine.container import Container, cgroup2_mount

_GRACE_S = 10.0
_QOS = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}
# Busy for as long as it lives.
BUSY = "while :; do :; done"
# Forked from one interpreter, whose pages they share; each wakes now and then, as nearly every process does.
_SLEEP = """
import os, random, sys, time
for path in sys.stdin.read().split():
    if not os.fork():
        with open(path + "/cgroup.procs", "w") as members:
            members.write("0")
        os.close(1)
        time.sleep(random.random() * 5)
        while True:
            time.sleep(5)
print("all", flush=True)
time.sleep(1000000)
"""


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

    def sleepers(self, containers: Sequence[tuple[str, str]]) -> None:
        """A process that wakes every five seconds in each (pod's uid, container's id), without runc."""
        paths = [cgroup2_mount() / self.path(uid, "Burstable") / one for uid, one in containers]
        for path in paths:
            path.mkdir(parents=True)
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _SLEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._stack.callback(process.stdout.close)
        self._stack.callback(process.wait, _GRACE_S)
        self._stack.callback(process.kill)
        for path in paths:
            self._stack.callback((path / "cgroup.kill").write_text, "1", encoding="ascii")
        process.stdin.write("\n".join(map(str, paths)).encode())
        process.stdin.close()
        assert process.stdout.readline() == b"all\n"

    def pause(self, uid: str, qos: str = "BestEffort") -> Container:
        """A pod's sandbox."""
        return self.run(uid, "", qos, is_pause=True)
