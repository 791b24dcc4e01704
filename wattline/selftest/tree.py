# SPDX-License-Identifier: Apache-2.0
r"""A live sysfs tree: a FUSE file system whose RAPL counters follow a known law of what really runs.

    python -m wattline.selftest.tree MOUNTPOINT [--config JSON]

presents what the kernel does, below MOUNTPOINT in place of /sys:

    class/powercap/intel-rapl:0/{name,energy_uj,max_energy_range_uj}           package-0
    class/powercap/intel-rapl:0/intel-rapl:0:0/...                             its core
    class/powercap/intel-rapl:0/intel-rapl:0:1/...                             its dram
    class/powercap/intel-rapl:0:0                                              symlinks to these two
    devices/system/cpu/{online,possible,present,isolated,nohz_full}            as on the real machine
    devices/system/cpu/cpu0/topology/physical_package_id                       as the meter splits them
    control    takes "freeze", "fail ZONE ERRNO", "heal ZONE", "hide ZONE", "show ZONE" (it and all within),
               "wrong ZONE READS MICROJOULES" (so many readings are off by so much); zones as in the log
    log        what was served, and what is true, as JSON

The law, from the moment it starts: energy = idle_w × time + busy_w × busy CPU seconds + noise. Busy are the
CPUs of the zone's own socket (all of them for psys), by the kernel's account of tasks or of idling (busy.py),
or a constant number of CPUs of the whole machine. A counter shows start_raw_uj at its first reading, whoever
makes that, and goes on modulo range_uj, as Wattline counts a wrap.

JSON, with what is left out at its default:

    {"sockets": 1, "cpus": [[0, 1], ...] by socket, "psys": false,
     "busy": "tasks" or "awake", "busy_cpus": null or number,
     "update_ms": 0 (a counter changes only at its multiples), "noise_w": 0, "seed": 0,
     "hidden": [ZONE, ...] (not there until shown), "mirrors": {ZONE: ZONE whose counter it shows},
     "zones": {ZONE: {"idle_w", "busy_w", "noise_w", "start_raw_uj", "range_uj"}}}

ZONE being package-0, package-0/core, package-0/dram, ... or psys. Noise is uniform from -noise_w to noise_w,
at most idle_w, and constant from one update to the next. Ends and unmounts on SIGTERM, and also when it is
killed.
"""

import argparse
import contextlib
import errno
import json
import signal
import stat
from functools import partial
from pathlib import Path
from typing import Any

import fuse

from .cpu_files import CPU_DIRECTORY, Maker, cpu_files
from .dying import die_with_parent
from .meter import Meter
from .zones import Zone

_POWERCAP = "/class/powercap"
_CPUS = "/devices/system/cpu"
_ATTRIBUTE_BYTES = 4096  # what sysfs says of every attribute


class Tree(fuse.Operations):  # type: ignore[misc]
    """The files. As in kernfs, a read of offset 0 makes an attribute anew, and later offsets continue it."""

    use_ns = True

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._made: dict[int, bytes] = {}  # by open file
        self._next = 1
        self._links: dict[str, str] = {}
        self._files: dict[str, Maker] = {"/control": str, "/log": self._log}
        self._counters: dict[str, str] = {}  # zone by path
        self._zones: dict[str, Zone] = {}  # by path of anything that goes with it
        for key, zone in meter.zones.items():
            directory = f"{_POWERCAP}/{zone.path}"
            self._files[f"{directory}/name"] = partial(_line, zone.name)
            self._files[f"{directory}/max_energy_range_uj"] = partial(_line, zone.range_uj)
            self._files[f"{directory}/energy_uj"] = partial(self._counter, zone)
            self._counters[f"{directory}/energy_uj"] = key
            self._zones |= dict.fromkeys(
                [directory, *(p for p in self._files if p.startswith(directory))], zone
            )
            if "/" in zone.path:
                link = f"{_POWERCAP}/{zone.path.rpartition('/')[2]}"
                self._links[link], self._zones[link] = zone.path, zone
        for name, make in cpu_files(meter.sockets).items():
            self._files[f"{_CPUS}/{name}"] = make
        self._directories = {str(parent) for path in self._files for parent in Path(path).parents}

    def init(self, path: str) -> None:  # noqa: ARG002
        """Tell whoever started it."""
        print("ready", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002
        """What stat(2) says."""
        if self._is_hidden(path):
            raise fuse.FuseOSError(errno.ENOENT)
        if path in self._directories:
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path in self._links:
            return {"st_mode": stat.S_IFLNK | 0o777, "st_nlink": 1, "st_size": len(self._links[path])}
        if path not in self._files:
            raise fuse.FuseOSError(errno.ENOENT)
        mode = 0o644 if path == "/control" else 0o444
        return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": _ATTRIBUTE_BYTES}

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002
        """Names in a directory."""
        every = [*self._directories, *self._links, *self._files]
        paths = [one for one in every if not self._is_hidden(one)]
        return [".", "..", *(Path(p).name for p in paths if p != "/" and str(Path(p).parent) == path)]

    def readlink(self, path: str) -> str:
        """Where a symlink leads."""
        return self._links[path]

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002
        """A number for an open file."""
        self._fail(path)
        self._next += 1
        return self._next

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        """Forget what an open file was given."""
        self._made.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Part of an attribute."""
        if offset == 0:
            self._fail(path)
            self._made[fh] = self._files[path]().encode()
        return self._made.get(fh, b"")[offset : offset + size]

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:  # noqa: ARG002
        """Nothing: what opens `control` to write asks for it."""
        return 0

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002
        """A command."""
        if path != "/control":
            raise fuse.FuseOSError(errno.EACCES)
        match data.decode().split():
            case ["freeze"]:
                self._meter.freeze()
            case ["fail", zone, name]:
                self._meter.zones[zone].failure = getattr(errno, name)
            case ["heal", zone]:
                self._meter.zones[zone].failure = 0
            case ["hide" | "show" as command, zone]:
                self._meter.hide(zone, is_hidden=command == "hide")
            case ["wrong", zone, reads, energy_uj]:
                self._meter.zones[zone].wrong_reads = int(reads)
                self._meter.zones[zone].wrong_by_uj = int(energy_uj)
            case _:
                raise fuse.FuseOSError(errno.EINVAL)
        return len(data)

    def _is_hidden(self, path: str) -> bool:
        return path in self._zones and self._zones[path].is_hidden

    def _fail(self, path: str) -> None:
        if self._is_hidden(path):
            raise fuse.FuseOSError(errno.ENODEV)  # as kernfs has it for files that were open
        if path in self._counters and (failure := self._meter.zones[self._counters[path]].failure):
            raise fuse.FuseOSError(failure)

    def _counter(self, zone: Zone) -> str:
        return _line(self._meter.serve(zone))

    def _log(self) -> str:
        return _line(json.dumps(self._meter.log()))


def _line(value: object) -> str:
    return f"{value}\n"


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="wattline.selftest.tree")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--config", type=json.loads, default={})
    given: Any = parser.parse_args(arguments)
    die_with_parent(signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):
        fuse.FUSE(
            Tree(Meter(given.config, CPU_DIRECTORY)),
            str(given.mountpoint.resolve()),
            foreground=True,
            nothreads=True,
            direct_io=True,
            allow_other=True,
            auto_unmount=True,
            attr_timeout=0,
            entry_timeout=0,
            fsname="simulated_rapl",
        )


if __name__ == "__main__":
    main()
