# SPDX-License-Identifier: Apache-2.0
"""A world of its own for commands that look at all processes: no process, run directory or pin from outside.

`wattline down` without --run would find, and end, a Wattline that is in use on this machine.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

SHM = "/dev/shm"  # noqa: S108 the world's own
ROOT = Path(__file__).parents[2]
_MOUNTS = (
    f"mount -t tmpfs -o mode=1777 tmpfs {SHM} && mount -t bpf -o mode=0700 bpf /sys/fs/bpf && "
    "echo ready && exec sleep infinity"
)
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class World:
    """New pid and mount namespaces with an empty /dev/shm and /sys/fs/bpf; all in it ends with it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([*_UNSHARE, "sh", "-c", _MOUNTS], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"
        outer = self._process.pid
        self._first = int(Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii"))
        self._started: list[subprocess.Popen[str]] = []
        return self

    def __exit__(self, *_exception: object) -> None:
        os.kill(self._first, signal.SIGKILL)  # the kernel ends the others with it
        for process in (*self._started, self._process):
            process.communicate(timeout=30)

    def path(self, inside: str) -> Path:
        """A path of the world as seen from here."""
        return Path(f"/proc/{self._first}/root{inside}")

    def start(self, *command: object, **settings: str) -> subprocess.Popen[str]:
        """A Python module with arguments, in the world."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
        process = subprocess.Popen(
            [
                *("nsenter", f"--target={self._first}", "--mount", "--pid", f"--wdns={ROOT}"),
                *(sys.executable, "-m", *map(str, command)),
            ],
            env=others | {f"WATTLINE_{name.upper()}": value for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *command: object, **settings: str) -> subprocess.CompletedProcess[str]:
        """The same until it has ended."""
        process = self.start(*command, **settings)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def wattline(self, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
        """A `wattline` command as root."""
        return self.run("wattline.cli", *arguments, **settings)

    def as_user(self, uid: int, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
        """A `wattline` command as another user."""
        return self.run("tests.cli.as_user", uid, *arguments, **settings)

    def instance(self, run: str, *flags: object, uid: int = 0) -> int:
        """Start what looks like a Wattline in a run directory; its process id in the world."""
        process = self.start("tests.cli.instance", run, *flags, f"--uid={uid}")
        line = process.stdout.readline()
        assert line.startswith("holds "), process.communicate()
        return int(line.split()[1])

    def wait_until(self, condition, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.05)
