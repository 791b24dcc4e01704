# SPDX-License-Identifier: Apache-2.0
"""What the probe can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning


class ProbeSettings(CommonSettings, kw_only=True, frozen=True):
    """What every process and cgroup on this node did, from the kernel's own context switches (eBPF)."""

    probe_pin_path: Annotated[
        Path, meaning("directory in a BPF file system where the program and its counters are pinned")
    ] = field(default=Path("/sys/fs/bpf/wattline"), name="probe.pin-path")
    probe_keep: Annotated[
        bool, meaning("leave the program counting in the kernel after a clean stop, for the next probe")
    ] = field(default=False, name="probe.keep")
    probe_process_rows: Annotated[
        int,
        meaning(
            "most process rows at a time; a row takes about 200 bytes of kernel memory", ge=64, le=1 << 20
        ),
    ] = field(default=32768, name="probe.process-rows")
    probe_cgroup_rows: Annotated[
        int,
        meaning("most cgroup rows at a time; a row takes about 80 bytes of kernel memory", ge=16, le=1 << 20),
    ] = field(default=8192, name="probe.cgroup-rows")
    probe_ended_s: Annotated[
        float, meaning("how long the row of an ended process is still published", "s", ge=0)
    ] = field(default=60.0, name="probe.ended-s")
