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

import errno
import json
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import fuse

from tests.power.redfish.law import Law
from wattline.selftest.attributes import LOG, Attributes, line, serve
from wattline.selftest.cpu_files import Maker

HALF_NS = 10_000_000_000
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

    def counter(self, path: str, law: Law, text: Callable[[int], str]) -> Maker:
        """A file that shows energy."""
        figure = self.figures[path] = Figure(law)

        def make() -> str:
            return line(text(figure.read(self.now_ns)))

        return make

    def gauge(self, path: str, law: Law) -> Maker:
        """A file that shows power in µW."""
        figure = self.figures[path] = Figure(law)

        def make() -> str:
            now_ns = self.now_ns
            figure.read(now_ns)
            return line(0 if self.frozen_ns is not None else law.power_uw(now_ns))

        return make


PACKAGE = (Law(30_000_000, 30_000_000, HALF_NS), Law(40_000_000, 50_000_000, HALF_NS))
DRAM = (Law(4_000_000, 5_000_000, HALF_NS), Law(5_000_000, 3_000_000, HALF_NS))
PLATFORM = Law(150_000_000, 130_000_000, HALF_NS)


Files = dict[str, Maker]


def files_of(machine: Machine) -> Files:
    """All files by path."""
    files: Files = {}
    for fill in (_powercap, _amd_energy, _platform, _cray, _pmu):
        fill(machine, files)
    for socket in (0, 1):
        files[f"/dev/cpu/{socket}/msr"] = str  # answered by `Registers`
        plain(files, f"/devices/system/cpu/cpu{socket}/topology", physical_package_id=socket, die_id=0)
        plain(files, f"/devices/system/node/node{socket}", cpulist=socket)
    # Ivy Bridge-EP: all of its RAPL counters go by the unit register
    modalias = "cpu:type:x86,ven0000fam0006mod003E:feature:,0000,"
    plain(files, "/devices/system/cpu", online="0-1", modalias=modalias)
    files["/dev/ipmi0"] = str  # answered by ipmi_bmc.c
    return files


def plain(files: Files, directory: str, **texts: object) -> None:
    """Add files whose text never changes."""
    for name, text in texts.items():
        files[f"{directory}/{name}"] = partial(line, text)


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

    def freshness() -> str:
        return line(time.monotonic_ns() // _CRAY_PERIOD_NS)

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


class Tree(Attributes):
    """The files of the machine."""

    def __init__(self) -> None:
        self._machine = Machine()
        self._registers = Registers(self._machine)
        self._failing: dict[str, int] = {}  # errno by prefix of paths
        self._hidden: set[str] = set()
        super().__init__(files_of(self._machine) | {LOG: self._log})

    def is_hidden(self, path: str) -> bool:
        """True for what was hidden."""
        return any(path.startswith(prefix) for prefix in self._hidden)

    def check(self, path: str) -> None:
        """Raise what a file fails with."""
        if self.is_hidden(path):
            raise fuse.FuseOSError(errno.ENODEV)
        for prefix, number in self._failing.items():
            if path.startswith(prefix):
                raise fuse.FuseOSError(number)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Part of an attribute, or a register at its offset."""
        if not path.endswith("/msr"):
            return super().read(path, size, offset, fh)
        self.check(path)
        # The kernel asks for whole pages; the register is what stands at the offset.
        return self._registers.read(path, offset) if size >= _REGISTER_BYTES else b""

    def command(self, words: list[str]) -> bool:
        """As the module says."""
        match words:
            case ["freeze"]:
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
                return False
        return True

    def _log(self) -> str:
        figures = {
            path: {"reads": one.reads, "first_uj": one.first_uj, "last_uj": one.last_uj}
            for path, one in self._machine.figures.items()
        }
        return line(json.dumps({"zones": figures}))


if __name__ == "__main__":
    serve(Tree(), Path(sys.argv[1]), "every_meter")
