# SPDX-License-Identifier: Apache-2.0
r"""A live RAPL tree: a FUSE file system whose energy_uj follow a known law.

    python -m tests.machine.simulated_rapl MOUNTPOINT [--config JSON]

presents what the kernel does for Intel's RAPL, below MOUNTPOINT in place of /sys:

    class/powercap/intel-rapl:0/{name,energy_uj,max_energy_range_uj}           package-0
    class/powercap/intel-rapl:0/intel-rapl:0:0/...                             its core
    class/powercap/intel-rapl:0/intel-rapl:0:1/...                             its dram
    class/powercap/intel-rapl:0:0                                              symlinks to these two
    control    takes "freeze", "fail ZONE ERRNO", "heal ZONE" (zones as in the log)
    log        what was served, as JSON

The law, from the moment it starts: energy = idle_w × time + busy_w × busy CPU seconds ÷ sockets (÷ 1 for
psys). Busy is the whole machine's, from /proc/stat, or a constant number of CPUs. A counter shows
start_raw_uj at its first reading, whoever makes that, and goes on modulo range_uj, as Wattline counts a wrap.

JSON: {"sockets": 1, "psys": false, "busy_cpus": null or number, "zones": {ZONE: {"idle_w", "busy_w",
"start_raw_uj", "range_uj"}}}, ZONE being package-0, package-0/core, package-0/dram, ... or psys; whatever is
left out has a default. Ends and unmounts on SIGTERM, and also when it is killed.
"""

import argparse
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import fuse

_REPOSITORY = Path(__file__).parents[2]
_POWERCAP = "/class/powercap"
_UW_NS_PER_UJ = 1_000_000_000
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_ATTRIBUTE_BYTES = 4096  # what sysfs says of every attribute
_DEADLINE_S = 10.0

# idle W, W per busy CPU. core is a part of package, psys holds all.
_WATTS = {"package": (20.0, 15.0), "core": (6.0, 12.0), "dram": (4.0, 1.5), "psys": (60.0, 20.0)}
_RANGE_UJ = 262_143_328_850  # of a unit of 61 µJ, as on most Intel machines
_START_RAW_UJ = 123_456_789


@dataclass
class Zone:
    """One zone: its law, and what was served of it."""

    name: str  # as in the file `name`
    path: str  # of its directory, below class/powercap
    idle_uw: int
    busy_uw: int  # per busy CPU of the machine
    start_raw_uj: int
    range_uj: int
    failure: int = 0  # an errno instead of readings
    reads: int = 0
    first_uj: int = 0
    last_uj: int = 0

    def energy_uj(self, elapsed_ns: int, busy_ns: int) -> int:
        return (self.idle_uw * elapsed_ns + self.busy_uw * busy_ns) // _UW_NS_PER_UJ

    def raw_uj(self, energy_uj: int) -> int:
        return (self.start_raw_uj + energy_uj - self.first_uj) % self.range_uj

    def serve(self, elapsed_ns: int, busy_ns: int) -> int:
        energy_uj = self.energy_uj(elapsed_ns, busy_ns)
        if not self.reads:
            self.first_uj = energy_uj
        self.reads += 1
        self.last_uj = energy_uj
        return self.raw_uj(energy_uj)

    def log(self) -> dict[str, int]:
        """`energy_uj` is what a perfect reader has counted from the first reading to the last."""
        energy_uj = self.last_uj - self.first_uj
        return {
            "reads": self.reads,
            "first_raw_uj": self.raw_uj(self.first_uj),
            "last_raw_uj": self.raw_uj(self.last_uj),
            "energy_uj": energy_uj,
            "wraps": (self.start_raw_uj + energy_uj) // self.range_uj,
        }


def zones_of(config: dict[str, Any]) -> dict[str, Zone]:
    """Raises ValueError for a zone or a figure that isn't there."""
    sockets = config.get("sockets", 1)
    places = {}
    for socket in range(sockets):
        package, top = f"package-{socket}", f"intel-rapl:{socket}"
        places[package] = (package, top, sockets)
        for number, name in enumerate(("core", "dram")):
            places[f"{package}/{name}"] = (name, f"{top}/{top}:{number}", sockets)
    if config.get("psys"):
        places["psys"] = ("psys", f"intel-rapl:{sockets}", 1)
    wanted = config.get("zones", {})
    figures = {"idle_w", "busy_w", "start_raw_uj", "range_uj"}
    if set(wanted) - set(places) or any(set(zone) - figures for zone in wanted.values()):
        raise ValueError(f"expected zones {sorted(places)} with {sorted(figures)}, got {wanted}")
    zones = {}
    for key, (name, path, share) in places.items():
        idle_w, busy_w = _WATTS[name.partition("-")[0]]
        own = wanted.get(key, {})
        zones[key] = Zone(
            name=name,
            path=path,
            idle_uw=round(own.get("idle_w", idle_w) * 1e6),
            busy_uw=round(own.get("busy_w", busy_w) * 1e6 / share),
            start_raw_uj=own.get("start_raw_uj", _START_RAW_UJ),
            range_uj=own.get("range_uj", _RANGE_UJ),
        )
    return zones


@dataclass
class Law:
    """Time and busy time since the start, until they are frozen."""

    busy_cpus: float | None
    _start_ns: int = field(default_factory=time.monotonic_ns)
    _start_busy_ns: int = 0
    _frozen: tuple[int, int] | None = None

    def __post_init__(self):
        self._start_busy_ns = _machine_busy_ns()

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def freeze(self):
        self._frozen = self.now()

    def now(self) -> tuple[int, int]:
        """(elapsed, busy) in ns."""
        if self._frozen:
            return self._frozen
        elapsed_ns = time.monotonic_ns() - self._start_ns
        if self.busy_cpus is not None:
            return elapsed_ns, round(elapsed_ns * self.busy_cpus)
        return elapsed_ns, _machine_busy_ns() - self._start_busy_ns


def _machine_busy_ns() -> int:
    """CPU time of everybody; guests are in user (man 5 proc)."""
    words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Tree(fuse.Operations):
    """The files. As in kernfs, a read of offset 0 makes an attribute anew, and later offsets continue it."""

    use_ns = True

    def __init__(self, config: dict[str, Any]):
        self._law = Law(config.get("busy_cpus"))
        self._zones = zones_of(config)
        self._made: dict[int, bytes] = {}  # by open file
        self._next = 1
        self._links = {
            f"{_POWERCAP}/{zone.path.rpartition('/')[2]}": zone.path
            for zone in self._zones.values()
            if "/" in zone.path
        }
        self._files = {"/control": None, "/log": None}
        for zone in self._zones.values():
            for attribute in ("name", "energy_uj", "max_energy_range_uj"):
                self._files[f"{_POWERCAP}/{zone.path}/{attribute}"] = zone
        self._directories = {"/"} | {str(parent) for path in self._files for parent in Path(path).parents}

    def init(self, path):  # noqa: ARG002
        print("ready", flush=True)  # for whoever started it

    def getattr(self, path, fh=None):  # noqa: ARG002
        if path in self._directories:
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path in self._links:
            return {"st_mode": stat.S_IFLNK | 0o777, "st_nlink": 1, "st_size": len(self._links[path])}
        if path not in self._files:
            raise fuse.FuseOSError(errno.ENOENT)
        mode = 0o644 if path == "/control" else 0o444
        return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": _ATTRIBUTE_BYTES}

    def readdir(self, path, fh):  # noqa: ARG002
        paths = [*self._directories, *self._links, *self._files]
        return [".", "..", *(Path(p).name for p in paths if p != "/" and str(Path(p).parent) == path)]

    def readlink(self, path):
        return self._links[path]

    def open(self, path, flags):  # noqa: ARG002
        self._fail(path)
        self._next += 1
        return self._next

    def release(self, path, fh):  # noqa: ARG002
        self._made.pop(fh, None)
        return 0

    def read(self, path, size, offset, fh):
        if offset == 0:
            self._fail(path)
            self._made[fh] = self._make(path).encode()
        return self._made.get(fh, b"")[offset : offset + size]

    def truncate(self, path, length, fh=None):  # noqa: ARG002
        return 0

    def write(self, path, data, offset, fh):  # noqa: ARG002
        if path != "/control":
            raise fuse.FuseOSError(errno.EACCES)
        match data.decode().split():
            case ["freeze"]:
                self._law.freeze()
            case ["fail", zone, name]:
                self._zones[zone].failure = getattr(errno, name)
            case ["heal", zone]:
                self._zones[zone].failure = 0
            case _:
                raise fuse.FuseOSError(errno.EINVAL)
        return len(data)

    def _fail(self, path):
        zone = self._files[path]
        if zone is not None and zone.failure and path.endswith("/energy_uj"):
            raise fuse.FuseOSError(zone.failure)

    def _make(self, path) -> str:
        zone = self._files[path]
        if path == "/control":
            return ""
        if zone is None:
            zones = {key: zone.log() for key, zone in self._zones.items()}
            return json.dumps({"frozen": self._law.frozen, "zones": zones}) + "\n"
        if path.endswith("/name"):
            return f"{zone.name}\n"
        if path.endswith("/max_energy_range_uj"):
            return f"{zone.range_uj}\n"
        return f"{zone.serve(*self._law.now())}\n"


class SimulatedRapl:
    """Such a tree in a process of its own, from `with` to its end. `sysfs` takes the place of /sys."""

    def __init__(self, mountpoint: Path, config: dict[str, Any] | None = None):
        self.sysfs = mountpoint
        self._config = config or {}
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Self:
        self.sysfs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.machine.simulated_rapl", str(self.sysfs)]
        # Its stderr is kept for the case that it fails: when all is well, fusermount grumbles in it.
        self.process = subprocess.Popen(
            [*command, "--config", json.dumps(self._config)],
            cwd=_REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        readable, _, _ = select.select([self.process.stdout], [], [], _DEADLINE_S)
        if not readable or self.process.stdout.readline() != b"ready\n":
            self.process.kill()
            _, complaint = self.process.communicate()
            raise RuntimeError(
                f"the simulated RAPL tree did not start: {complaint.decode()[-500:]}; it needs /dev/fuse, "
                "fusermount (fuse3) and libfuse2"
            )
        return self

    def __exit__(self, *_exception):
        self.process.terminate()
        try:
            self.process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        self.wait_unmounted()

    def wait_unmounted(self):
        """A killed one is unmounted by the fusermount that it started, a moment later."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while is_mounted(self.sysfs):
            if time.monotonic() > deadline_s:
                subprocess.run(["fusermount", "-u", "-z", str(self.sysfs)], check=True)
                raise TimeoutError(f"{self.sysfs} stayed mounted for {_DEADLINE_S} s")
            time.sleep(0.01)

    def log(self) -> dict[str, Any]:
        """What has been served, by zone."""
        return json.loads((self.sysfs / "log").read_text(encoding="ascii"))["zones"]

    def freeze(self):
        """From now on no energy flows."""
        self._control("freeze")

    def fail(self, zone: str, error: str):
        """Opening and reading a zone's energy_uj fails from now on, as errno names it ("ENODEV")."""
        self._control(f"fail {zone} {error}")

    def heal(self, zone: str):
        """The zone can be read again."""
        self._control(f"heal {zone}")

    def _control(self, command: str):
        (self.sysfs / "control").write_text(command, encoding="ascii")


def is_mounted(path: Path) -> bool:
    """Whether something is mounted there; a mount whose server is dead counts."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return any(line.split()[1] == str(path) for line in mounts)


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(prog="simulated_rapl")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--config", type=json.loads, default={})
    given = parser.parse_args(arguments)
    # End with whoever started it, however that ends.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    with contextlib.suppress(KeyboardInterrupt):
        fuse.FUSE(
            Tree(given.config),
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
