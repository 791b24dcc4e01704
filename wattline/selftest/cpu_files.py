# SPDX-License-Identifier: Apache-2.0
"""devices/system/cpu of the simulated machine: the real CPUs, on the sockets that we say.

They have no clock (cpufreq): the law knows none, and who ran is not to be weighed by it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

CPU_DIRECTORY = Path("/sys/devices/system/cpu")
_LISTS = ("online", "possible", "present", "isolated", "nohz_full")

Maker = Callable[[], str]  # of a file's content


def cpu_files(sockets: Sequence[frozenset[int]], real: Path = CPU_DIRECTORY) -> Mapping[str, Maker]:
    """What makes the content of each file, by path below our devices/system/cpu.

    Only what the real machine has, lists read anew each time: CPUs come and go.
    """
    files: dict[str, Maker] = {
        name: partial((real / name).read_text, encoding="ascii") for name in _LISTS if (real / name).exists()
    }
    for socket, cpus in enumerate(sockets):
        for cpu in cpus:
            if (real / f"cpu{cpu}").exists():
                files[f"cpu{cpu}/topology/physical_package_id"] = partial(str, f"{socket}\n")
    return files
