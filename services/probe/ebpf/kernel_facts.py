# SPDX-License-Identifier: Apache-2.0
"""The facts that a refusal of the kernel may come from, read of this process and this machine."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from wattline.confine.capabilities import BITS, effective
from wattline.decimal import decimal
from wattline.mounts import Mount, mount_details

from .refusal import Facts, MemoryCgroup

_CAPABILITIES = ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE")
_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO, include/linux/proc_ns.h
_SECCOMP_FILTER = "2"  # SECCOMP_MODE_FILTER, man 5 proc
_LOCKDOWN = re.compile(r"\[(\w+)\]")  # "none [integrity] confidentiality"
_UNLIMITED_BYTES = 1 << 62  # cgroup v1 writes no word for it, but the largest number of whole pages
# Files of a memory cgroup, by the kind of its hierarchy: limit, use.
_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    "cgroup2": ("memory.max", "memory.current"),
}


def read_facts(procfs: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> Facts:
    """What can be read of them; what can't is as if it were not there."""
    bits = effective()
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    lockdown = _LOCKDOWN.search(_text(sysfs / "kernel/security/lockdown"))
    status = dict(line.partition(":\t")[::2] for line in _text(procfs / "self/status").split("\n"))
    release = re.match(r"(\d{1,9})\.(\d{1,9})", os.uname().release)
    return Facts(
        capabilities=frozenset(name for name in _CAPABILITIES if bits >> BITS[name] & 1),
        in_user_namespace=_is_in_user_namespace(procfs),
        perf_event_paranoid=_signed(_text(procfs / "sys/kernel/perf_event_paranoid")),
        lockdown=lockdown[1] if lockdown else "",
        memlock_bytes=None if soft == resource.RLIM_INFINITY else soft,
        has_seccomp_filter=status.get("Seccomp") == _SECCOMP_FILTER,
        memory_cgroup=memory_cgroup(procfs),
        kernel=(int(release[1]), int(release[2])) if release else (0, 0),
    )


def memory_cgroup(procfs: Path) -> MemoryCgroup | None:
    """The memory cgroup with the least room that this process is in; None without a limit."""
    limited = [found for found in _memory_cgroups(procfs) if found.limit_bytes < _UNLIMITED_BYTES]
    return min(limited, key=lambda one: one.limit_bytes - one.used_bytes, default=None)


def _memory_cgroups(procfs: Path) -> Iterator[MemoryCgroup]:
    """Our own and those above, in the hierarchy that has the memory controller."""
    try:
        listed = list(mount_details(procfs))
    except OSError:
        return
    for line in _text(procfs / "self/cgroup").split("\n"):
        _hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = _mount_of("cgroup" if controllers else "cgroup2", listed)
        if mount is None or not path.startswith("/"):
            continue
        own = Path(path)
        for place in (own, *own.parents):
            below = place.relative_to(mount.root) if place.is_relative_to(mount.root) else place
            values = [_bytes(mount.place / str(below).lstrip("/") / name) for name in _FILES[mount.kind]]
            if values[0] is not None and values[1] is not None:
                yield MemoryCgroup(str(place), values[0], values[1])


def _mount_of(kind: str, listed: list[Mount]) -> Mount | None:
    found = [one for one in listed if one.kind == kind and (kind == "cgroup2" or "memory" in one.options)]
    return found[-1] if found else None


def _bytes(path: Path) -> int | None:
    try:
        return decimal(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):  # no such file at the root; "max"
        return None


def _signed(text: str) -> int | None:
    """A number that may be negative; None if it is none."""
    digits = text.removeprefix("-")
    try:
        return decimal(digits) if digits == text else -decimal(digits)
    except ValueError:
        return None


def _is_in_user_namespace(procfs: Path) -> bool:
    try:
        return (procfs / "self/ns/user").stat().st_ino != _INITIAL_USER_NAMESPACE
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
