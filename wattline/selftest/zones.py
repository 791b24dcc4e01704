# SPDX-License-Identifier: Apache-2.0
"""The zones of a simulated RAPL: their places in sysfs, their laws, and what was served of each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .law import NOISE_PERIOD_NS, Law, Moment, Noise

# idle W, W per busy CPU. core is a part of package, psys holds all.
_WATTS = {"package": (20.0, 15.0), "core": (6.0, 12.0), "dram": (4.0, 1.5), "psys": (60.0, 20.0)}
_RANGE_UJ = 262_143_328_850  # of a unit of 61 µJ, as on most Intel machines
_START_RAW_UJ = 123_456_789
_START_RAW_STEP_UJ = 1_000_000_000  # from one socket to the next: no two counters are equal by chance
_FIGURES = frozenset({"idle_w", "busy_w", "noise_w", "start_raw_uj", "range_uj"})


@dataclass
class Zone:
    """One zone: its law, and what was served of it."""

    name: str  # as in the file `name`
    path: str  # of its directory, below class/powercap
    law: Law
    start_raw_uj: int
    range_uj: int
    failure: int = 0  # an errno instead of readings
    is_hidden: bool = False  # its directory is not there
    wrong_reads: int = 0  # so many of its next readings are off
    wrong_by_uj: int = 0
    mirrored: "Zone | None" = None  # the zone whose counter it shows instead of its own
    reads: int = 0
    first_uj: int = 0
    last_uj: int = 0

    def serve(self, moment: Moment) -> int:
        """The raw counter at a moment; the first reading defines where it begins."""
        if self.mirrored is not None:
            return self.mirrored.serve(moment)
        if self.wrong_reads:
            self.wrong_reads -= 1
            return (self._raw_uj(self.law.energy_uj(moment)) + self.wrong_by_uj) % self.range_uj
        energy_uj = self.law.energy_uj(moment)
        if not self.reads:
            self.first_uj = energy_uj
        self.reads += 1
        self.last_uj = energy_uj
        return self._raw_uj(energy_uj)

    def log(self) -> dict[str, int]:
        """`energy_uj` is what a perfect reader has counted from the first reading to the last.

        The moment of the first is `first_uj` of the law's energy since the start, that of the last `last_uj`.
        """
        energy_uj = self.last_uj - self.first_uj
        return {
            "reads": self.reads,
            "first_raw_uj": self._raw_uj(self.first_uj),
            "last_raw_uj": self._raw_uj(self.last_uj),
            "energy_uj": energy_uj,
            "wraps": (self.start_raw_uj + energy_uj) // self.range_uj,
            "first_uj": self.first_uj,
            "last_uj": self.last_uj,
        }

    def _raw_uj(self, energy_uj: int) -> int:
        return (self.start_raw_uj + energy_uj - self.first_uj) % self.range_uj


def zones_of(config: Mapping[str, Any], sockets: Sequence[frozenset[int]]) -> dict[str, Zone]:
    """Zones by name (package-0, package-0/core, …, psys), given each socket's CPUs.

    Raises ValueError for a zone or a figure that isn't there.
    """
    places: dict[str, tuple[str, str, frozenset[int]]] = {}
    socket_of: dict[str, int] = {}
    for socket, cpus in enumerate(sockets):
        package, top = f"package-{socket}", f"intel-rapl:{socket}"
        places[package] = (package, top, cpus)
        for number, name in enumerate(("core", "dram")):
            places[f"{package}/{name}"] = (name, f"{top}/{top}:{number}", cpus)
        socket_of |= dict.fromkeys((package, f"{package}/core", f"{package}/dram"), socket)
    if config.get("psys"):
        places["psys"] = ("psys", f"intel-rapl:{len(sockets)}", frozenset().union(*sockets))
    wanted: Mapping[str, Mapping[str, Any]] = config.get("zones", {})
    if set(wanted) - set(places) or any(set(zone) - _FIGURES for zone in wanted.values()):
        raise ValueError(f"expected zones {sorted(places)} with {sorted(_FIGURES)}, got {wanted}")
    period_ns = update_ns(config) or NOISE_PERIOD_NS
    zones = {}
    for number, (key, (name, path, cpus)) in enumerate(places.items()):
        own = wanted.get(key, {})
        idle_w, busy_w = _WATTS[name.partition("-")[0]]
        noise_w = own.get("noise_w", config.get("noise_w", 0))
        # Each zone wavers in its own way.
        noise = Noise(_uw(noise_w), (int(config.get("seed", 0)) << 32) + (number << 24), period_ns)
        zones[key] = Zone(
            name=name,
            path=path,
            law=Law(_uw(own.get("idle_w", idle_w)), _uw(own.get("busy_w", busy_w)), cpus, noise),
            start_raw_uj=own.get("start_raw_uj", _START_RAW_UJ + socket_of.get(key, 0) * _START_RAW_STEP_UJ),
            range_uj=own.get("range_uj", _RANGE_UJ),
        )
    mirrors: Mapping[str, str] = config.get("mirrors", {})
    if unknown := {*mirrors, *mirrors.values()} - set(places):
        raise ValueError(f"mirrors: expected zones {sorted(places)}, got {sorted(unknown)}")
    for name, mirrored in mirrors.items():
        zones[name].mirrored = zones[mirrored]
        zones[name].range_uj = zones[mirrored].range_uj
    return zones


def update_ns(config: Mapping[str, Any]) -> int:
    """The counters' update period; 0 if they are always up to date. Raises ValueError for a negative one."""
    update_ms: float = config.get("update_ms", 0)
    if update_ms < 0:
        raise ValueError(f"update_ms: expected 0 or more, got {update_ms}")
    return round(update_ms * 1e6)


def _uw(watts: float) -> int:
    return round(watts * 1e6)
