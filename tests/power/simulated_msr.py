# SPDX-License-Identifier: Apache-2.0
"""Registers as files: a FUSE file system with cpu/N/msr, whose counters follow a law of elapsed time.

    python -m tests.power.simulated_msr MOUNTPOINT JSON

JSON: {"cpus": [package of each CPU], "fixed": {register: content},
       "counters": {package: {register: [count at the start, counts per second]}}}

`log` holds, by package and register, every count that was served, before it was cut to 32 bits.
"""

import argparse
import contextlib
import errno
import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuse

from wattline.selftest.dying import die_with_parent

_S = 1_000_000_000
_BYTES = 8


class Msr(fuse.Operations):
    """The files. A read of 8 bytes at an offset is that of the register with this number."""

    use_ns = True

    def __init__(self, config: dict[str, Any]):
        self._packages = [str(package) for package in config["cpus"]]
        self._fixed = {int(at): content for at, content in config["fixed"].items()}
        self._counters = {
            package: {int(at): law for at, law in counters.items()}
            for package, counters in config["counters"].items()
        }
        self._begun_ns = time.monotonic_ns()
        self._served: dict[str, dict[str, list[int]]] = {}

    def init(self, path: str):
        del path
        print("ready", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        del fh
        if path in {"/", "/cpu"} or (path.startswith("/cpu/") and path.count("/") == 2):
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/log" or path.endswith("/msr"):
            return {"st_mode": stat.S_IFREG | 0o400, "st_nlink": 1, "st_size": 2**33}
        raise fuse.FuseOSError(errno.ENOENT)

    def open(self, path: str, flags: int) -> int:
        del path, flags
        return 1

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        del fh
        if path == "/log":
            return json.dumps(self._served).encode()[offset : offset + size]
        if size != _BYTES:
            raise fuse.FuseOSError(errno.EINVAL)
        return self._content(self._packages[int(path.split("/")[2])], offset).to_bytes(_BYTES, "little")

    def _content(self, package: str, register: int) -> int:
        if register in self._fixed:
            return self._fixed[register]
        if register not in self._counters[package]:
            raise fuse.FuseOSError(errno.EIO)
        start, per_second = self._counters[package][register]
        count = start + (time.monotonic_ns() - self._begun_ns) * per_second // _S
        self._served.setdefault(package, {}).setdefault(str(register), []).append(count)
        return count % 2**32 | 0xABCD << 32  # the upper half is reserved


@contextlib.contextmanager
def simulated_msr(mountpoint: Path, config: dict[str, Any]) -> Iterator[Path]:
    """Mount the registers; the directory stands for /dev."""
    mountpoint.mkdir()
    command = [sys.executable, "-m", "tests.power.simulated_msr", str(mountpoint), json.dumps(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield mountpoint
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def served(devices: Path) -> dict[str, dict[int, list[int]]]:
    """By package and register, every count that was served."""
    log = json.loads((devices / "log").read_text(encoding="ascii"))
    return {package: {int(at): counts for at, counts in one.items()} for package, one in log.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mountpoint")
    parser.add_argument("config", type=json.loads)
    given = parser.parse_args()
    die_with_parent(signal.SIGTERM)
    fuse.FUSE(
        Msr(given.config),
        given.mountpoint,
        foreground=True,
        nothreads=True,
        direct_io=True,
        auto_unmount=True,
        fsname="simulated_msr",
    )


if __name__ == "__main__":
    main()
