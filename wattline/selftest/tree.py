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
import errno
import json
from functools import partial
from pathlib import Path
from typing import Any

import fuse

from .attributes import LOG, Attributes, line, serve
from .cpu_files import CPU_DIRECTORY, Maker, cpu_files
from .meter import Meter
from .zones import Zone

_POWERCAP = "/class/powercap"
_CPUS = "/devices/system/cpu"


class Tree(Attributes):
    """The files of one simulated machine."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        links: dict[str, str] = {}
        files: dict[str, Maker] = {LOG: self._log}
        self._counters: dict[str, str] = {}  # zone by path
        self._zones: dict[str, Zone] = {}  # by path of anything that goes with it
        for key, zone in meter.zones.items():
            directory = f"{_POWERCAP}/{zone.path}"
            files[f"{directory}/name"] = partial(line, zone.name)
            files[f"{directory}/max_energy_range_uj"] = partial(line, zone.range_uj)
            files[f"{directory}/energy_uj"] = partial(self._counter, zone)
            self._counters[f"{directory}/energy_uj"] = key
            self._zones |= dict.fromkeys([directory, *(p for p in files if p.startswith(directory))], zone)
            if "/" in zone.path:
                link = f"{_POWERCAP}/{zone.path.rpartition('/')[2]}"
                links[link], self._zones[link] = zone.path, zone
        for name, make in cpu_files(meter.sockets).items():
            files[f"{_CPUS}/{name}"] = make
        super().__init__(files, links)

    def is_hidden(self, path: str) -> bool:
        """True for zones that were hidden."""
        return path in self._zones and self._zones[path].is_hidden

    def check(self, path: str) -> None:
        """Raise what a zone fails with."""
        if self.is_hidden(path):
            raise fuse.FuseOSError(errno.ENODEV)  # as kernfs has it for files that were open
        if path in self._counters and (failure := self._meter.zones[self._counters[path]].failure):
            raise fuse.FuseOSError(failure)

    def command(self, words: list[str]) -> bool:
        """As the module says."""
        match words:
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
                return False
        return True

    def _counter(self, zone: Zone) -> str:
        return line(self._meter.serve(zone))

    def _log(self) -> str:
        return line(json.dumps(self._meter.log()))


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="wattline.selftest.tree")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--config", type=json.loads, default={})
    given: Any = parser.parse_args(arguments)
    serve(Tree(Meter(given.config, CPU_DIRECTORY)), given.mountpoint, "simulated_rapl")


if __name__ == "__main__":
    main()
