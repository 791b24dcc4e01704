# SPDX-License-Identifier: Apache-2.0
r"""A live /sys and /dev with every kind of meter that Wattline reads as a file, each following a known law.

    python -m tests.machine.every_meter_tree MOUNTPOINT

The machine has two sockets. Below MOUNTPOINT:

    class/powercap/intel-rapl:N, .../intel-rapl:N:0   package and dram of both sockets, counters in µJ
    class/hwmon/hwmon0                                amd_energy: the sockets' packages again, counters in µJ
    class/hwmon/hwmon1                                an ACPI power meter: the platform, power in µW
    class/power_supply/BAT0                           a battery that discharges: the platform, power in µW
    cray/pm_counters                                  energy in J: node, CPUs, memory
    bus/event_source/devices/power                    a PMU of the software type: perf_event_open is real
    dev/cpu/N/msr                                     RAPL's registers: units, package, DRAM
    dev/ipmi0                                         a BMC, where ipmi_bmc.c is preloaded: the platform
    control, log                                      see below

`control` takes "fail PREFIX ERRNO" and "heal PREFIX" (all files whose path begins so), "hide PREFIX", "show
PREFIX", and "freeze" (from now on no energy flows). `log` has, for each figure by its path, the law's energy
in µJ at each of its first readings and at its last one.

The law of a meter: power rises and falls in straight lines, by CLOCK_MONOTONIC: so a meter elsewhere can have
the same one.
"""

import contextlib
import errno
import json
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fuse

from tests.power.redfish.law import Law
from wattline.selftest.dying import die_with_parent

HALF_NS = 10_000_000_000
_ATTRIBUTE_BYTES = 4096
_RANGE_UJ = 262_143_328_850
_MSR_UNITS_PER_J = 2**14  # as the units register below says
_MSR_UNIT, _MSR_PACKAGE, _MSR_DRAM = 0x606, 0x611, 0x619
_REGISTER_BYTES = 8
_FIRST_READS = 8  # what looks whether a counter can be read, before it counts, is among them
_CRAY_PERIOD_NS = 100_000_000


@dataclass
class Figure:
    """One meter's figure: its law, and the law's energy when it was read first and last."""

    law: Law
    reads: int = 0
    first_uj: list[int] = field(default_factory=list)
    last_uj: int = 0

    def read(self, mono_ns: int) -> int:
        """The law's energy now, which is what was served."""
        energy_uj = self.law.energy_uj(mono_ns)
        if self.reads < _FIRST_READS:
            self.first_uj.append(energy_uj)
        self.reads += 1
        self.last_uj = energy_uj
        return energy_uj


@dataclass
class Machine:
    """All meters of the machine, which has one clock."""

    frozen_ns: int | None = None
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, or when all was frozen."""
        return self.frozen_ns if self.frozen_ns is not None else time.monotonic_ns()

    def counter(self, path: str, law: Law, text: Callable[[int], str]) -> Callable[[], bytes]:
        """A file that shows energy."""
        figure = self.figures[path] = Figure(law)

        def make() -> bytes:
            return f"{text(figure.read(self.now_ns))}\n".encode()

        return make

    def gauge(self, path: str, law: Law) -> Callable[[], bytes]:
        """A file that shows power in µW."""
        figure = self.figures[path] = Figure(law)

        def make() -> bytes:
            now_ns = self.now_ns
            figure.read(now_ns)
            return f"{0 if self.frozen_ns is not None else law.power_uw(now_ns)}\n".encode()

        return make


PACKAGE = (Law(30_000_000, 30_000_000, HALF_NS), Law(40_000_000, 50_000_000, HALF_NS))
DRAM = (Law(4_000_000, 5_000_000, HALF_NS), Law(5_000_000, 3_000_000, HALF_NS))
PLATFORM = Law(150_000_000, 130_000_000, HALF_NS)


Files = dict[str, Callable[[], bytes]]


def files_of(machine: Machine) -> Files:
    """All files by path."""
    files: Files = {}
    for fill in (_powercap, _amd_energy, _platform, _cray, _pmu):
        fill(machine, files)
    for socket in (0, 1):
        files[f"/dev/cpu/{socket}/msr"] = bytes  # answered by `Registers`
        plain(files, f"/devices/system/cpu/cpu{socket}/topology", physical_package_id=socket, die_id=0)
        plain(files, f"/devices/system/node/node{socket}", cpulist=socket)
    # Ivy Bridge-EP: all of its RAPL counters go by the unit register
    modalias = "cpu:type:x86,ven0000fam0006mod003E:feature:,0000,"
    plain(files, "/devices/system/cpu", online="0-1", modalias=modalias)
    files["/dev/ipmi0"] = bytes  # answered by ipmi_bmc.c
    return files


def plain(files: Files, directory: str, **texts: object) -> None:
    """Add files whose text never changes."""
    for name, text in texts.items():
        files[f"{directory}/{name}"] = f"{text}\n".encode


def _powercap(machine: Machine, files: Files) -> None:
    for socket, (package, dram) in enumerate(zip(PACKAGE, DRAM, strict=True)):
        top = f"/class/powercap/intel-rapl:{socket}"
        zones = ((top, f"package-{socket}", package), (f"{top}/intel-rapl:{socket}:0", "dram", dram))
        for number, (directory, name, law) in enumerate(zones):
            plain(files, directory, name=name, max_energy_range_uj=_RANGE_UJ)
            start_uj = (2 * socket + number + 1) * 50_000_000_000
            path = f"{directory}/energy_uj"
            files[path] = machine.counter(path, law, lambda uj, start=start_uj: f"{(uj + start) % _RANGE_UJ}")


def _amd_energy(machine: Machine, files: Files) -> None:
    directory = "/class/hwmon/hwmon0"
    plain(files, directory, name="amd_energy")
    for socket, package in enumerate(PACKAGE):
        plain(files, directory, **{f"energy{socket + 1}_label": f"Esocket{socket}"})
        path = f"{directory}/energy{socket + 1}_input"
        files[path] = machine.counter(path, package, str)


def _platform(machine: Machine, files: Files) -> None:
    acpi, battery = "/class/hwmon/hwmon1", "/class/power_supply/BAT0"
    plain(files, acpi, name="power_meter", power1_average_interval=0)
    plain(files, battery, type="Battery", status="Discharging", present=1, scope="System")
    for path in (f"{acpi}/power1_average", f"{battery}/power_now"):
        files[path] = machine.gauge(path, PLATFORM)


def _cray(machine: Machine, files: Files) -> None:
    directory = "/cray/pm_counters"
    plain(files, directory, generation=1, startup=1_700_000_000)

    def freshness() -> bytes:
        return f"{time.monotonic_ns() // _CRAY_PERIOD_NS}\n".encode()

    def text(energy_uj: int) -> str:
        return f"{energy_uj // 1_000_000} J {time.monotonic_ns() // 1000} us"

    files[f"{directory}/freshness"] = freshness
    for name, laws in (("energy", (PLATFORM,)), ("cpu_energy", PACKAGE), ("memory_energy", DRAM)):
        law = Law(sum(one.low_uw for one in laws), sum(one.swing_uw for one in laws), HALF_NS)
        files[f"{directory}/{name}"] = machine.counter(f"{directory}/{name}", law, text)


def _pmu(_machine: Machine, files: Files) -> None:
    directory = "/bus/event_source/devices/power"
    plain(files, directory, type=1, cpumask="0-1")
    scale = "2.5e-8"  # J for each nanosecond of cpu-clock: 25 W
    # uncore, which no other meter has: its law is another one.
    events = {"energy-gpu": "event=0x00", "energy-gpu.scale": scale, "energy-gpu.unit": "Joules"}
    plain(files, f"{directory}/events", **events)


class Registers:
    """RAPL's model-specific registers of one CPU per socket."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        for socket, (package, dram) in enumerate(zip(PACKAGE, DRAM, strict=True)):
            machine.figures[f"/dev/cpu/{socket}/msr:package"] = Figure(package)
            machine.figures[f"/dev/cpu/{socket}/msr:dram"] = Figure(dram)

    def read(self, path: str, register: int) -> bytes:
        """The eight bytes of a register; EIO for one that is not there, as the kernel has it."""
        if register == _MSR_UNIT:
            return struct.pack("<Q", 0x000A_0E03)  # energy units of 2⁻¹⁴ J in bits 12 to 8
        name = {_MSR_PACKAGE: "package", _MSR_DRAM: "dram"}.get(register)
        if name is None:
            raise fuse.FuseOSError(errno.EIO)
        energy_uj = self._machine.figures[f"{path}:{name}"].read(self._machine.now_ns)
        return struct.pack("<Q", energy_uj * _MSR_UNITS_PER_J // 1_000_000 & 0xFFFF_FFFF)


class Tree(fuse.Operations):  # type: ignore[misc]
    """The files. As in kernfs, a read of offset 0 makes an attribute anew, and later offsets continue it."""

    use_ns = True

    def __init__(self) -> None:
        self._machine = Machine()
        self._registers = Registers(self._machine)
        self._files = files_of(self._machine) | {"/control": bytes, "/log": self._log}
        self._directories = {str(parent) for path in self._files for parent in Path(path).parents}
        self._made: dict[int, bytes] = {}  # by open file
        self._next = 0
        self._failing: dict[str, int] = {}  # errno by prefix of paths
        self._hidden: set[str] = set()

    def init(self, path: str) -> None:  # noqa: ARG002
        """Tell the process that started this one."""
        print("ready", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002
        """What stat(2) says."""
        if self._is_hidden(path) or (path not in self._directories and path not in self._files):
            raise fuse.FuseOSError(errno.ENOENT)
        if path in self._directories:
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        mode = 0o644 if path == "/control" else 0o444
        return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": _ATTRIBUTE_BYTES}

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002
        """Names in a directory."""
        every = [one for one in [*self._directories, *self._files] if not self._is_hidden(one)]
        return [".", "..", *(Path(one).name for one in every if one != "/" and str(Path(one).parent) == path)]

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002
        """A number for an open file."""
        self._check(path)
        self._next += 1
        return self._next

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        """Forget what an open file was given."""
        self._made.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Part of an attribute, or a register at its offset."""
        if path.endswith("/msr"):
            self._check(path)
            # The kernel asks for whole pages; the register is what stands at the offset.
            return self._registers.read(path, offset) if size >= _REGISTER_BYTES else b""
        if offset == 0:
            self._check(path)
            self._made[fh] = self._files[path]()
        return self._made.get(fh, b"")[offset : offset + size]

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:  # noqa: ARG002
        """Do nothing: what opens `control` to write asks for it."""
        return 0

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002
        """Take a command."""
        match data.decode().split():
            case ["freeze"] if path == "/control":
                self._machine.frozen_ns = self._machine.now_ns
            case ["fail", prefix, name]:
                self._failing[prefix] = getattr(errno, name)
            case ["heal", prefix]:
                self._failing.pop(prefix, None)
            case ["hide", prefix]:
                self._hidden.add(prefix)
            case ["show", prefix]:
                self._hidden.discard(prefix)
            case _:
                raise fuse.FuseOSError(errno.EINVAL)
        return len(data)

    def _is_hidden(self, path: str) -> bool:
        return any(path.startswith(prefix) for prefix in self._hidden)

    def _check(self, path: str) -> None:
        if self._is_hidden(path):
            raise fuse.FuseOSError(errno.ENODEV)
        for prefix, number in self._failing.items():
            if path.startswith(prefix):
                raise fuse.FuseOSError(number)

    def _log(self) -> bytes:
        figures = {
            path: {"reads": one.reads, "first_uj": one.first_uj, "last_uj": one.last_uj}
            for path, one in self._machine.figures.items()
        }
        return f"{json.dumps({'mono_ns': self._machine.now_ns, 'zones': figures})}\n".encode()


def main() -> None:
    """Serve until told to end."""
    die_with_parent(signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):
        fuse.FUSE(
            Tree(),
            str(Path(sys.argv[1]).resolve()),
            foreground=True,
            nothreads=True,
            direct_io=True,
            allow_other=True,
            auto_unmount=True,
            attr_timeout=0,
            entry_timeout=0,
            fsname="every_meter",
        )


if __name__ == "__main__":
    main()
