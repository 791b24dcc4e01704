# SPDX-License-Identifier: Apache-2.0
"""What this test run has on the machine: mounts, cgroups, named hierarchies, pins, directories, sockets.

A name belongs to the process whose id is in it: wl-PID-…, wattline-test-PID-…, wattline-replay-PID-… . Only
names of this process and of those it started are looked at, so that another run never matters. A run that
was killed can't clean up: what bears the id of an ended process is removed by the next run that is alone on
the machine, for a mount left behind can break more than tests (Docker fails on a foreign cgroup hierarchy).
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.probe.ebpf.mounts import BPFFS
from wattline.mounts import mounts

from . import started

_OWNED = re.compile(r"(?:wl|wattline)(?:-[a-z]+)?-(?P<pid>\d+)(?:-.*)?")
_CGROUP_KINDS = ("cgroup", "cgroup2")


@dataclass(frozen=True, order=True)
class Trace:
    """One thing. `kind`: as in removal.py's order."""

    kind: str
    path: Path

    @property
    def owner(self) -> str:
        """The name by which it is ours; what a fixture has begun may go on to grow under its name."""
        return next((part for part in self.path.parts if _OWNED.fullmatch(part)), str(self.path))

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


def found(temporary: Path) -> set[Trace]:
    """All that is ours. `temporary`: the directory in which pytest makes this run's tmp_path's."""
    return _found(_is_owned, lambda path: path.is_relative_to(temporary))


def of_ended_runs(temporary: Path) -> set[Trace]:
    """What runs that have ended left. `temporary`: as above; those of other runs are beside it."""
    beside = temporary.parent
    is_kept = beside.name.startswith("pytest-of-")  # --basetemp may be anywhere

    def is_temporary(path: Path) -> bool:
        return is_kept and path.is_relative_to(beside) and not path.is_relative_to(temporary)

    return _found(_is_abandoned, is_temporary)


def _found(is_owned: Callable[[str], bool], is_temporary: Callable[[Path], bool]) -> set[Trace]:
    def is_ours(path: Path) -> bool:
        return is_temporary(path) or any(map(is_owned, path.parts))

    mounted = list(mounts())
    traces = {Trace("mount", place) for place, _kind in mounted if is_ours(place)}
    places = {("pin", BPFFS)}
    places |= {("directory", Path(place)) for place in ("/dev/shm", "/var/tmp", tempfile.gettempdir())}  # noqa: S108
    places |= {("cgroup", place) for place, kind in mounted if kind in _CGROUP_KINDS}
    for kind, place in places:
        traces |= {Trace(kind, place / name) for name in _names(place) if is_owned(name)}
    traces |= {Trace("hierarchy", Path(name)) for name in hierarchies() if is_owned(name)}
    return traces | {Trace("socket", path) for path in _sockets() if is_ours(path)}


def hierarchies() -> list[str]:
    """Names of the cgroup v1 hierarchies that have one, mounted or not; man 7 cgroups."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split(":")[1].removeprefix("name=") for line in lines if ":name=" in line]


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []


def _sockets() -> Iterator[Path]:
    for line in Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        words = line.split(maxsplit=7)
        if len(words) > 7 and words[7].startswith("/"):
            yield Path(words[7])


def _is_owned(name: str) -> bool:
    match = _OWNED.fullmatch(name)
    return match is not None and (int(match["pid"]) == os.getpid() or started.is_started(int(match["pid"])))


def _is_abandoned(name: str) -> bool:
    match = _OWNED.fullmatch(name)
    return match is not None and not Path("/proc", match["pid"]).exists()
