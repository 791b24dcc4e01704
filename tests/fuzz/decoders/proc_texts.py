# SPDX-License-Identifier: Apache-2.0
"""What services parse of /proc, sysfs and the cgroup tree: the documented error of each, and no other."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from services.metadata.procfs import cgroups_of, own_cgroups
from services.probe.ebpf import cpus
from services.probe.processes import parse_stat, running_process, running_processes
from services.probe.procfs.reading import (
    nearest,
    parse_cgroup_path,
    parse_idle_ns,
    parse_members,
    parse_usage_ns,
)
from tests.fuzz.decoder import Decoder, Input
from wattline.cgroup2 import find_mount
from wattline.cli.running import held_locks
from wattline.mounts import mount_details, mounts

from .files import damaged, made

PID, START = 7, 4711
STAT = (
    b"7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 4711 1000 10 18446744073709551615 1 1 0\n"
)
TREE = {
    "proc/stat": b"cpu  10 20 30 40 50 0 0\ncpu0 5 10 15 20 25 0 0 0\ncpu1 5 10 15 20 25\nintr 1 2 3\n",
    "proc/7/stat": STAT,
    "proc/7/cgroup": b"4:cpu,cpuacct:/docker/" + b"a1" * 32 + b"\n0::/a/b (deleted)\n",
    "proc/self/cgroup": b"2:cpu,cpuacct:/\n0::/user.slice\n",
    "proc/self/mounts": b"proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup\\040x cgroup2 rw,nosuid 0 0\n",
    "proc/self/mountinfo": b"36 35 98:0 / /m rw master:1 - ext3 /dev/a rw\n40 1 0:33 / /b rw - bpf bpf rw\n",
    "proc/locks": b"1: FLOCK  ADVISORY  WRITE 47 00:1a:12 0 EOF\n1: -> FLOCK ADVISORY WRITE 12 00:1a:1 0 9\n",
    "cpu.stat": b"usage_usec 123456\nuser_usec 100\nsystem_usec 23\n",
    "cgroup.procs": b"1\n7\n0\n4194304\n",
    "devices/system/cpu/possible": b"0-3,8\n",
    "devices/system/cpu/online": b"0-2\n",
    "devices/system/cpu/isolated": b"\n",
    "devices/system/cpu/cpu0/topology/physical_package_id": b"0\n",
    "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": b"2400000\n",
}  # fmt: skip
WORDS = (
    b"\n", b" ", b":", b")", b"(", b"-", b",", b"0-", b"cpu", b"0::", b"0::/..", b" - ", b"->", b"FLOCK",
    b"\\040",
    b"\\777", b"usage_usec ", b"4294967295", b"18446744073709551616", b"\xff", b"\x85", b"\x0b",
    "\u2028".encode(), b"1" * 5000, b"1_0", "\u0663".encode(),
)  # fmt: skip


_OF_INT = ("Exceeds the limit", "invalid literal")


def make(chance: Random) -> dict[str, bytes]:
    """One more input."""
    return damaged(chance, TREE, WORDS)


def _either(errors: tuple[type[Exception], ...], call: Callable[..., Any], *arguments: Any) -> None:
    """Call it; these errors are what it documents. int()'s own texts tell nobody which file is wrong."""
    try:
        call(*arguments)
    except errors as error:
        if any(text in str(error) for text in _OF_INT):
            raise AssertionError(f"a text of int(): {error}") from error


def proc_texts(place: Path) -> Decoder:
    root = place / "root"

    def check(data: Input) -> None:
        assert not isinstance(data, bytes)
        with made(root, data):
            _check_proc(root / "proc")
            _check_sysfs(root)
        stat, cgroup = data.get("proc/7/stat", b""), data.get("proc/7/cgroup", b"")
        _either((ValueError,), parse_stat, PID, stat)
        _either((ValueError,), parse_idle_ns, data.get("proc/stat", b""), 100)
        _either((ValueError,), parse_usage_ns, data.get("cpu.stat", b""))
        _either((ValueError,), parse_members, {1: data.get("cgroup.procs", b"")})
        assert nearest(parse_cgroup_path(cgroup), {b"/": 1, b"/a": 2}) in (1, 2)
        _either((ValueError,), held_locks, data.get("proc/locks", b"").decode("ascii", "replace"))

    return Decoder(make, check)


def _check_proc(procfs: Path) -> None:
    own_cgroups(procfs)
    for start in (START, START + 1):
        cgroups_of(procfs, PID, start)
    running_process(procfs, PID)
    list(running_processes(procfs))
    if (procfs / "self/mounts").is_file():
        list(mounts(procfs))
        find_mount(procfs)
    if (procfs / "self/mountinfo").is_file():
        list(mount_details(procfs))


def _check_sysfs(sysfs: Path) -> None:
    for call in (cpus.possible_count, cpus.online):
        _either((ValueError, OSError), call, sysfs)
    cpus.undisturbed(sysfs)
    cpus.sockets(sysfs, range(2))
    cpus.frequencies_khz(sysfs, range(2))
