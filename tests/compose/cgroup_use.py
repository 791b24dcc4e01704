# SPDX-License-Identifier: Apache-2.0
"""What a container uses, by the kernel's account of its cgroup: v1 or v2, whichever Docker uses."""

from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


def _directory(pid: int, controller: str) -> tuple[Path, bool]:
    """(a process's cgroup for a controller, whether it is of v1)."""
    lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _MOUNT / controller / path.lstrip("/"), True
    return _MOUNT / lines[-1].split(":", 2)[2].lstrip("/"), False


def cpu_ns(pid: int) -> int:
    """CPU time of all that ever ran in its cgroup."""
    directory, is_v1 = _directory(pid, "cpuacct")
    if is_v1:
        return int((directory / "cpuacct.usage").read_text(encoding="ascii"))
    return int((directory / "cpu.stat").read_text(encoding="ascii").split()[1]) * 1000


def memory_bytes(pid: int) -> int:
    """Memory that it would free by ending: anonymous and shared memory, not the page cache."""
    directory, is_v1 = _directory(pid, "memory")
    text = (directory / "memory.stat").read_text(encoding="ascii")
    stat = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
    return stat["rss"] + stat.get("shmem", 0) if is_v1 else stat["anon"] + stat["shmem"]


def charged_bytes(pid: int) -> int:
    """All that is charged to it, the page cache of its image included."""
    directory, is_v1 = _directory(pid, "memory")
    name = "memory.usage_in_bytes" if is_v1 else "memory.current"
    return int((directory / name).read_text(encoding="ascii"))
