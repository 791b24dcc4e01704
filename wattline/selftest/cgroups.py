# SPDX-License-Identifier: Apache-2.0
"""Cgroups of our own: made, frozen, accounted for by the kernel, emptied and removed."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattline.errors import Fatal

_DEADLINE_S = 10.0
_POLL_S = 0.005


class Cgroup:
    """One cgroup2 directory. `name`: its last component."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def cpu_ns(self) -> int:
        """The kernel's account of what its tasks have used, stolen time left out."""
        for line in (self.path / "cpu.stat").read_text(encoding="ascii").splitlines():
            name, value = line.split()
            if name == "usage_usec":
                return int(value) * 1000
        raise Fatal(f"{self.path}/cpu.stat: expected usage_usec")

    def freeze(self, frozen: bool) -> None:
        """Let all its tasks stand still, or go on."""
        (self.path / "cgroup.freeze").write_text(str(int(frozen)), encoding="ascii")
        self._wait("frozen", int(frozen))

    def _wait(self, key: str, value: int) -> None:
        deadline_s = time.monotonic() + _DEADLINE_S
        while f"{key} {value}" not in (self.path / "cgroup.events").read_text(encoding="ascii"):
            if time.monotonic() > deadline_s:
                raise Fatal(f"{self.path}: did not become {key}={value} within {_DEADLINE_S:.0f} s")
            time.sleep(_POLL_S)

    def remove(self) -> None:
        """End whoever is in it, and remove it."""
        (self.path / "cgroup.kill").write_text("1", encoding="ascii")
        self._wait("populated", 0)
        self.path.rmdir()


@contextlib.contextmanager
def made(path: Path) -> Iterator[Cgroup]:
    """A cgroup from `with` to its end, and the directories above it that were not there."""
    missing = [parent for parent in reversed(path.parents) if not parent.exists()]
    path.mkdir(parents=True)
    cgroup = Cgroup(path)
    try:
        yield cgroup
    finally:
        cgroup.remove()
        for parent in reversed(missing):
            with contextlib.suppress(OSError):  # somebody else has come into it
                parent.rmdir()


@contextlib.contextmanager
def containers(mount: Path, count: int) -> Iterator[Sequence[Cgroup]]:
    """Cgroups that look like Docker's containers, below one that is ours alone: "docker" is the engine's.

    Our process id is in their ids, in hexadecimal.
    """
    with contextlib.ExitStack() as stack:
        parent = mount / f"wattline-selftest-{os.getpid()}-containers" / "docker"
        ids = [f"{os.getpid():08x}{secrets.token_hex(28)}" for _number in range(count)]
        yield [stack.enter_context(made(parent / container_id)) for container_id in ids]


@contextlib.contextmanager
def background(mount: Path) -> Iterator[Cgroup]:
    """A cgroup whose tasks take nothing from others, also where groups share the CPU among themselves."""
    with made(mount / f"wattline-selftest-{os.getpid()}") as cgroup:
        for name, value in (("cpu.weight", "1"), ("cpu.idle", "1")):
            with contextlib.suppress(OSError):  # no cpu controller here, or a kernel before 5.15
                (cgroup.path / name).write_text(value, encoding="ascii")
        yield cgroup
