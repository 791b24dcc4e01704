# SPDX-License-Identifier: Apache-2.0
"""A sysfs of plain files with hwmon chips in it, and a source on it that is read by a clock of the test's."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from services.power import channel, hwmon_files
from services.power.settings import PowerSettings
from services.power.source import Former, Readings, Zone

from .world import Clock, S

W = 1_000_000  # µW
ERRORS = {
    "EACCES": errno.EACCES,
    "EIO": errno.EIO,
    "ENODATA": errno.ENODATA,
    "ENODEV": errno.ENODEV,
}


class HwmonTree:
    """As the kernel has it: devices, each with its hwmonN, and links to those in class/hwmon."""

    def __init__(self, sysfs: Path):
        self.sysfs = sysfs
        self.classes = sysfs / "class" / "hwmon"
        self.classes.mkdir(parents=True)

    def chip(
        self, name: str, device: str, number: int, files: dict[str, Any], *, is_old: bool = False
    ) -> Path:
        """A chip's directory. `is_old`: all attributes are the device's, as older drivers have them."""
        parent = self.sysfs / "devices" / device
        place = parent / "hwmon" / f"hwmon{number}"
        place.mkdir(parents=True)
        (place / "device").symlink_to("../..")
        (self.classes / f"hwmon{number}").symlink_to(place)
        directory = parent if is_old else place
        self.write(directory, {"name": name, **files})
        return directory

    def write(self, directory: Path, files: dict[str, Any]):
        for file, content in files.items():
            (directory / file).write_text(f"{content}\n", encoding="utf-8")

    def remove(self, number: int):
        """A driver is unloaded."""
        link = self.classes / f"hwmon{number}"
        place = link.resolve()
        link.unlink()
        shutil.rmtree(place)
        for path in place.parent.parent.iterdir():
            if path.is_file():
                path.unlink()

    def topology(self, nodes: dict[int, tuple[str, int]]):
        """NUMA nodes: (their CPUs, the package of the first of them)."""
        system = self.sysfs / "devices" / "system"
        for node, (cpus, package) in nodes.items():
            first = cpus.partition("-")[0]
            (system / "node" / f"node{node}").mkdir(parents=True)
            (system / "cpu" / f"cpu{first}" / "topology").mkdir(parents=True)
            self.write(system / "node" / f"node{node}", {"cpulist": cpus})
            self.write(system / f"cpu/cpu{first}/topology", {"physical_package_id": package})


class Rig:
    """A source, a clock, and laws: files whose content follows from the time."""

    def __init__(self, monkeypatch, sysfs: Path, module, **settings):
        self.clock = Clock()
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(channel, "time", self.clock)
        self.module = module
        self.settings = PowerSettings(path_sysfs=sysfs, **settings)
        self.laws: dict[Path, Callable[[int], Any]] = {}
        self.source: Any = None
        self.last: Readings | None = None
        self.notes: list[Any] = []

    def law(self, path: Path, law: Callable[[int], Any]):
        """`law`: the file's content at a time since the start, in ns."""
        self.laws[path] = law
        path.write_text(f"{law(self.elapsed_ns)}\n", encoding="ascii")

    @property
    def elapsed_ns(self) -> int:
        return self.clock.now_ns - 1000 * S

    def open(self, former: Former | None = None):
        self._obey()
        self.source = self.module.open_source(self.settings, former or Former(), self.clock.now_ns)
        return self

    def restart(self):
        """A new process goes on from the rows that this one published last."""
        rows = {row.zone: row for row in self.last.rows}
        self.source.close()
        until_ns = max((row.mono_ns for row in rows.values()), default=0)
        return self.open(Former(1, rows, 0, until_ns))

    def tick(self, seconds: float = 1.0) -> Readings:
        self.clock.advance(seconds)
        self._obey()
        self.last = self.source.read(self.clock.now_ns)
        self.notes += self.last.notes
        return self.last

    def ticks(self, seconds: Iterable[float]) -> Readings:
        for one in seconds:
            self.tick(one)
        return self.last

    def row(self, zone: str, index: str):
        return next(row for row in self.last.rows if (row.zone.name, row.zone.index) == (zone, index))

    def zones(self) -> list[str]:
        return sorted(map(str, self.source.zones))

    def events(self) -> list[str]:
        return [note.event for note in self.notes]

    def fail(self, path: Path, number: int | None):
        """Let reading a file fail with an error's number; None: as ever."""
        failing = {path.resolve(): number}
        real = os.open

        def opened(one, *flags):
            got = failing.get(Path(one).resolve())
            if got is not None:
                raise OSError(got, os.strerror(got))
            return real(one, *flags)

        stand_in = type("Os", (), {"open": staticmethod(opened)})
        for name in ("read", "close", "O_RDONLY", "O_CLOEXEC"):
            setattr(stand_in, name, getattr(os, name))
        self.monkeypatch.setattr(hwmon_files, "os", stand_in)

    def _obey(self):
        for path, law in self.laws.items():
            if path.exists():
                path.write_text(f"{law(self.elapsed_ns)}\n", encoding="ascii")


def zone(name: str, index: str, source: str) -> Zone:
    return Zone(name, index, source, "measured")


def ramp(start_uw: int, per_second_uw: int) -> Callable[[int], int]:
    """Power that rises steadily."""
    return lambda elapsed_ns: start_uw + per_second_uw * elapsed_ns // S


def ramp_uj(start_uw: int, per_second_uw: int, from_s: float, to_s: float) -> float:
    """The energy of such a ramp."""
    return start_uw * (to_s - from_s) + per_second_uw * (to_s**2 - from_s**2) / 2
