# SPDX-License-Identifier: Apache-2.0
"""Names, sizes and layouts of the eBPF program's data in the kernel; bpf/rows.bpf.c explains them. Pure."""

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = Path(__file__).parent
# Compiled as one text, in this order: each uses what stands before it.
SOURCES = tuple(
    _DIRECTORY / "bpf" / f"{name}.bpf.c" for name in ("rows", "identities", "charge", "events", "cgroups")
)
KERNEL_HEADERS = _DIRECTORY / "kernel_headers"

# Tables that the reader uses; the others keep only what the program itself needs.
MAPS = (
    "accounts",
    "cgroups",
    "counters_opened",
    "cpu_settings",
    "epoch",
    "flush_requests",
    "identities",
    "owners",
    "paths",
    "plugs",
    "processes",
    "removals",
    "totals",
)
RAW_TRACEPOINTS = {
    "on_softirq_entry": "softirq_entry",
    "on_cpu_plug_step": "cpuhp_enter",
    "on_sched_process_exit": "sched_process_exit",
    "on_sched_switch": "sched_switch",
}
# Each is attached if the kernel has it.
OPTIONAL_RAW_TRACEPOINTS = {
    "on_page_read": "mm_filemap_get_pages",
    "on_page_dirtied": "writeback_dirty_folio",
    "on_cpu_frequency": "cpu_frequency",
}
# Raw too where the kernel's BTF tells where their fields are, else of the classic kind; see hooks.py.
TRACEPOINTS = {
    "on_cgroup_mkdir": "cgroup/cgroup_mkdir",
    "on_cgroup_rmdir": "cgroup/cgroup_rmdir",
    "on_task_newtask": "task/task_newtask",
    "on_task_rename": "task/task_rename",
    "on_sched_process_free": "sched/sched_process_free",
}
# Fields that the raw kind reads, by the names that the program has for their places.
STRUCTURES = {
    "TASK_PID": ("task_struct", "pid"),
    "TASK_COMM": ("task_struct", "comm"),
    "TASK_CGROUPS": ("task_struct", "cgroups"),
    "SET_CGROUP": ("css_set", "dfl_cgrp"),
    "CGROUP_NODE": ("cgroup", "kn"),
    "CGROUP_ROOT": ("cgroup", "root"),
    "NODE_ID": ("kernfs_node", "id"),
    "ROOT_HIERARCHY": ("cgroup_root", "hierarchy_id"),
}
CHECK, CHECKED = "check_structures", 0b1111  # run by the loader; what it returns if all places are right
# Run by the reader, attached to nothing.
CALLED = ("flush", "fold")

ACCOUNT = struct.Struct("<7Q")  # struct account_t
ACCOUNT_FIELDS = (
    "stamp_ns",
    "start_ns",
    "idle_ns",
    "offline_ns",
    "lost_ns",
    "failed_cgroup_updates",
    "failed_process_updates",
)
CGROUP_ID = struct.Struct("<Q")
CGROUP_KEY = struct.Struct("<QII")  # cgroup_id, socket, departed
PROCESS_KEY = struct.Struct("<QIIII")  # cgroup_id, tgid, generation, socket, unused
IDENTITY = struct.Struct("<QQII16s")  # start_boot_ns, ended_ns, tgid, flags, comm
OWNER = struct.Struct("<II")  # generation, frees_to_skip
TOTALS = struct.Struct("<4Q")
TOTALS_FIELDS = ("births", "unseen_births", "failed_births", "failed_paths")
CPU_SETTING = struct.Struct("<II")  # socket, khz
REMOVAL = struct.Struct("<Q")
PATH_BYTES = 1024
INDEX = struct.Struct("<I")
REQUEST = struct.Struct("<Q")
TIME = struct.Struct("<Q")  # CLOCK_MONOTONIC
EPOCH = struct.Struct("<Q")  # CLOCK_MONOTONIC when the counters began

FLAG_KERNEL_THREAD = 1
FLAG_UNSEEN_BIRTH = 2
FLAG_LEADER_EXITED = 4
# Processes that ran before the probe get generations that the kernel's own count of births won't reach.
SEED_GENERATION = 0x8000_0000

# The columns of every row before those of the counters, in the order of enum value.
BASE_COLUMNS = ("cpu_ns", "page_cache_hits", "net_tx_softirqs", "net_rx_softirqs", "block_softirqs")
FREQUENCY_COLUMN = "frequency_cycles"
COUNTERS_MAX = 4

_LAYOUT = (
    MAPS,
    CALLED,
    ACCOUNT_FIELDS,
    BASE_COLUMNS,
    *(struct_.format for struct_ in (CGROUP_KEY, PROCESS_KEY, IDENTITY, OWNER, TOTALS, CPU_SETTING, REMOVAL)),
)
_NAME = re.compile(r"(?P<layout>[0-9a-f]{8})-(?P<program>[0-9a-f]{8})-(?P<features>[a-z_]+(\+[a-z_]+)*)")
_PLAIN = "cpu_time"


@dataclass(frozen=True)
class Features:
    """What a program records besides the base columns."""

    counters: tuple[str, ...] = ()
    frequency: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row before those of the counters."""
        return (*BASE_COLUMNS, FREQUENCY_COLUMN) if self.frequency else BASE_COLUMNS

    @property
    def row_values(self) -> int:
        """How many 64-bit values a row has: its columns, then count, enabled and running of each counter."""
        return len(self.columns) + 3 * len(self.counters)


@dataclass(frozen=True)
class Program:
    """One variant of the program: what it records, how much room it has."""

    process_rows: int
    cgroup_rows: int
    cpus: int
    features: Features = Features()
    self_flush: bool = False

    @property
    def defines(self) -> list[str]:
        """What bpf/rows.bpf.c wants to be told, as compiler flags."""
        values = {
            "PROCESS_ROWS": self.process_rows,
            "CGROUP_ROWS": self.cgroup_rows,
            "CPUS": self.cpus,
            "COUNTERS": len(self.features.counters),
            "WITH_FREQUENCY": int(self.features.frequency),
            "WITH_SELF_FLUSH": int(self.self_flush),
        }
        return [f"-D{name}={value}" for name, value in values.items()]

    @property
    def pin_name(self) -> str:
        """Directory of this program's pins: another program or size must never share its maps.

        It says what a reader of other pins has to know: whether their layout is its own, and their features.
        """
        # CRC-32 tells versions apart well enough, and hashlib would bring 4 MB of OpenSSL along.
        layout = zlib.crc32(repr(_LAYOUT).encode())
        program = zlib.crc32("\0".join([source_text(), *self.defines]).encode())
        features = [*self.features.counters, *[FREQUENCY_COLUMN] * self.features.frequency]
        return f"{layout:08x}-{program:08x}-{'+'.join(features or [_PLAIN])}"


def source_text() -> str:
    """The program's files as one text; messages of the compiler name file and line."""
    return "\n".join(f'#line 1 "{path.name}"\n{path.read_text(encoding="utf-8")}' for path in SOURCES)


def readable_features(pin_name: str, like: Program) -> Features | None:
    """What the program pinned under a name records, if its tables are laid out as ours; else None."""
    match = _NAME.fullmatch(pin_name)
    own = _NAME.fullmatch(like.pin_name)
    if match is None or own is None or match["layout"] != own["layout"]:
        return None
    names = [name for name in match["features"].split("+") if name != _PLAIN]
    counters = tuple(name for name in names if name != FREQUENCY_COLUMN)
    return Features(counters, FREQUENCY_COLUMN in names)
