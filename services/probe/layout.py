# SPDX-License-Identifier: Apache-2.0
"""Names, sizes and layouts of what cpu_time.bpf.c keeps in the kernel; that file explains them."""

import struct
import zlib
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu_time.bpf.c")
KERNEL_HEADERS = Path(__file__).with_name("kernel_headers")

MAPS = ("cpus", "cgroups", "processes", "identities", "generations", "totals")
RAW_TRACEPOINTS = {"on_sched_switch": "sched_switch"}
TRACEPOINTS = {
    "on_task_newtask": "task/task_newtask",
    "on_task_rename": "task/task_rename",
    "on_sched_process_free": "sched/sched_process_free",
}
FLUSH = "flush"

CPU = struct.Struct("<8Q2048x")  # struct cpu_t: its eight counters, then 64 cache slots of 32 bytes
CPU_FIELDS = (
    "start_ns",
    "stamp_ns",
    "idle_ns",
    "lost_ns",
    "failed_cgroup_updates",
    "failed_process_updates",
    "flush_ns",
    "flush_idle_ns",
)
CGROUP_KEY_BYTES = CGROUP_VALUE_BYTES = 8
PROCESS_KEY = struct.Struct("<QII")  # cgroup_id, tgid, generation
PROCESS_VALUE_BYTES = 8
IDENTITY = struct.Struct("<QQII16s")  # start_boot_ns, ended_ns, tgid, flags, comm
OWNER = struct.Struct("<II")  # generation, frees_to_skip
TOTALS = struct.Struct("<QQQQ")  # epoch_ns, births, reuses, failed_births
KEY = struct.Struct("<I")

FLAG_KERNEL_THREAD = 1
# Processes that ran before the probe get generations that the kernel's own count of births won't reach.
SEED_GENERATION = 0x8000_0000


def pin_name(process_rows: int, cgroup_rows: int) -> str:
    """Directory of this program version's pins: another program or size must never share its maps."""
    # CRC-32 tells versions apart well enough, and hashlib would bring 4 MB of OpenSSL along.
    digest = zlib.crc32(SOURCE.read_bytes())
    return f"{digest:08x}-{process_rows}-{cgroup_rows}"
