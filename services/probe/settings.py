# SPDX-License-Identifier: Apache-2.0
"""What the probe can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning

from .ebpf.layout import COUNTERS_MAX
from .ebpf.perf_events import COUNTERS
from .parse import parse_counters, parse_undisturbed_cpus


class ProbeSettings(CommonSettings, kw_only=True, frozen=True):
    """What every process and cgroup on this node did, from the kernel's own context switches (eBPF)."""

    probe_backend: Annotated[
        str,
        meaning(
            "where activity comes from: ebpf, procfs (coarser, from /proc), or auto: "
            "ebpf where it can be had",
            choices=("auto", "ebpf", "procfs"),
        ),
    ] = field(default="auto", name="probe.backend")
    probe_pin_path: Annotated[
        Path, meaning("directory in a BPF file system where the program and its counters are pinned")
    ] = field(default=Path("/sys/fs/bpf/wattline"), name="probe.pin-path")
    probe_keep: Annotated[
        bool, meaning("leave the program counting in the kernel after a clean stop, for the next probe")
    ] = field(default=False, name="probe.keep")
    probe_process_rows: Annotated[
        int,
        meaning(
            "most process rows at a time; a row takes about 320 bytes of kernel memory, and 24 more for "
            "each counter",
            ge=64,
            le=1 << 20,
        ),
    ] = field(default=32768, name="probe.process-rows")
    probe_cgroup_rows: Annotated[
        int,
        meaning(
            "most cgroup rows at a time; a row takes about 200 bytes of kernel memory, and a cgroup that "
            "exists 1100 more",
            ge=16,
            le=1 << 20,
        ),
    ] = field(default=8192, name="probe.cgroup-rows")
    probe_ended_s: Annotated[
        float,
        meaning(
            "how long the row of an ended process or removed cgroup is still published",
            "s",
            ge=0,
            le=31_536_000,
        ),
    ] = field(default=60.0, name="probe.ended-s")
    probe_counters: Annotated[
        str,
        meaning(
            "hardware counters to keep per process, of cycles, instructions, cache_misses, ref_cycles, "
            "cpu_clock, task_clock; those that the machine has not got are left out",
            expected=f"at most {COUNTERS_MAX} different names out of {', '.join(COUNTERS)}",
            check=parse_counters,
        ),
    ] = field(default="cycles,instructions,cache_misses,ref_cycles", name="probe.counters")
    probe_undisturbed_cpus: Annotated[
        str,
        meaning(
            "the CPUs never interrupted for a sample, as a list like 2-5,8, or isolated for those that the "
            "kernel keeps so (nohz_full, isolcpus); what runs there is charged when it leaves its CPU",
            expected="isolated or a list of CPUs, e.g. 2-5,8",
            check=parse_undisturbed_cpus,
        ),
    ] = field(default="", name="probe.undisturbed-cpus")
    path_sysfs: Annotated[Path, meaning("where the host's sysfs is mounted")] = field(
        default=Path("/sys"), name="path.sysfs"
    )
    path_procfs: Annotated[Path, meaning("where the host's proc file system is mounted")] = field(
        default=Path("/proc"), name="path.procfs"
    )
