# SPDX-License-Identifier: Apache-2.0
"""What a process may do and see, as the kernel tells it; and the table of it on docs/compose.md."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from wattline.mounts import mount_details

PAGE = Path(__file__).parents[2] / "docs/compose.md"
_BEGIN, _END = "<!-- table: tests/compose -->\n", "<!-- end of table -->"
# Bits as include/uapi/linux/capability.h has them.
_CAPABILITIES = {2: "DAC_READ_SEARCH", 21: "SYS_ADMIN", 38: "PERFMON", 39: "BPF"}
_NAMESPACES = ("pid", "net", "ipc", "uts")  # the cgroup namespace is as Docker's default has it
# What Docker gives to every container.
_USUAL = re.compile(r"/|/(proc|dev)(/.*)?|/sys|/sys/firmware|/etc/(hosts|hostname|resolv\.conf)")
_TEST_ONLY = ("/simulated", "/run/bmc.pem")
_HEADER = (
    "service",
    "user:group",
    "capabilities in use",
    "… it could have",
    "may gain any",
    "writable",
    "read only",
    "of the host's",
    "network",
)


def row(service: str, pid: int) -> tuple[str, ...]:
    """A service by its process, as the cells of the table."""
    status = dict(line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line)
    shared = [space for space in _NAMESPACES if _namespace(pid, space) == _namespace(os.getpid(), space)]
    mounts = _mounts(pid)
    interfaces = [line.partition(":")[0].strip() for line in _read(pid, "net/dev").splitlines()[2:]]
    return (
        service,
        f"{status['Uid'].split()[0]}:{status['Gid'].split()[0]}",
        _names(status["CapEff"]),
        _names(status["CapBnd"]),
        "no" if status["NoNewPrivs"].strip() == "1" else "by files it runs",
        _code(path for path, is_writable in mounts if is_writable),
        _code(path for path, is_writable in mounts if not is_writable),
        ", ".join(f"{space} namespace" for space in shared) or "–",
        ", ".join("loopback" if name == "lo" else "a bridge" for name in interfaces),
    )


def filters(pid: int) -> int:
    """How many seccomp filters a process has (Linux 5.9)."""
    status = dict(line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line)
    return int(status["Seccomp_filters"])


def check(pids: dict[str, int]) -> None:
    """The page's rows of these services are what the kernel says of their processes."""
    found = [_line(row(service, pid)) for service, pid in pids.items()]
    header, rule, *rows = (
        PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0].splitlines()
    )
    assert (header, rule) == (_line(_HEADER), _line("---" for _ in _HEADER))
    committed = [line for line in rows if line.split()[1] in pids]
    assert found == committed, "docs/compose.md should have:\n" + "\n".join(found)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mounts(pid: int) -> list[tuple[str, bool]]:
    """(where, whether it may be written to) beside Docker's usual ones; of nested ones the outer."""
    found: dict[str, bool] = {}
    for mount in mount_details(process=str(pid)):
        place = str(mount.place)
        if place.startswith("/sys/fs/cgroup") and (mount.root != "/" or mount.kind != "cgroup2"):
            continue  # Docker's own view of the container's cgroup
        inside = any(place.startswith(f"{other}/") for other in found)
        if (place == "/" and "rw" in mount.flags) or not (
            _USUAL.fullmatch(place) or inside or place in _TEST_ONLY
        ):
            found[place] = "rw" in mount.flags
    return sorted(found.items())


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")


def _namespace(pid: int, space: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{space}").readlink())


def _names(bits: str) -> str:
    held = [bit for bit in range(64) if int(bits, 16) >> bit & 1]
    return ", ".join(_CAPABILITIES.get(bit, f"capability {bit}") for bit in held) or "none"


def _code(paths) -> str:
    return ", ".join(f"`{path}`" for path in paths) or "–"
