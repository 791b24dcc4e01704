# SPDX-License-Identifier: Apache-2.0
"""Write the frame fixtures: `python tests/wire/make_fixtures.py`. The same bytes each time.

It packs plain maps with msgpack, as a publisher in another language would, and uses none of our code: so
the fixtures hold what schema 1 was when it was published, whatever becomes of the code. Add files; never
change or remove a published one.
"""

import struct
from pathlib import Path
from typing import Any

import msgpack

HERE = Path(__file__).parent / "fixtures"
WIDTHS = {"u8": "B", "u32": "I", "u64": "Q"}
U64_MAX = 2**64 - 1


def column(dtype: str, *values: int) -> list[Any]:
    """[dtype, little-endian bytes]."""
    return [dtype, struct.pack(f"<{len(values)}{WIDTHS[dtype]}", *values)]


def u8(*values: int) -> list[Any]:
    return column("u8", *values)


def u32(*values: int) -> list[Any]:
    return column("u32", *values)


def u64(*values: int) -> list[Any]:
    return column("u64", *values)


HEADER = {
    "schema": 1,
    "node": "node-7",
    "boot_id": "0b8f5a3e-6f1c-4c3b-9d7e-1f2a3b4c5d6e",
    "epoch": 1_000_000_000,
    "run": 2_000_000_000,
    "seq": 3,
    "mono_ns": 5_000_000_000,
    "unix_ns": 1_700_000_000_000_000_000,
    "interval_ns": 1_000_000_000,
}
USEFUL = {"useful_mono_ns": 4_990_000_000, "failed_turns": 2}
SOURCES = [
    {"name": "rapl_sysfs", "up": True, "reason": ""},
    {"name": "redfish", "up": False, "reason": "timed out after 5 s"},
]

ACTIVITY = {
    **HEADER,
    "topic": "activity",
    "producer": "probe",
    "source": "ebpf",
    "skew_ns": 21_000,
    "cpus": {
        "cpu": u32(0, 1),
        "start_mono_ns": u64(1_000_000_000, 1_000_000_100),
        "stamp_mono_ns": u64(5_000_000_000, 4_999_979_000),
        "idle_ns": u64(3_000_000_000, 3_500_000_000),
        "lost_ns": u64(0, 0),
    },
    "cgroups": {"cgroup_id": u64(1, 1355), "cpu_ns": u64(400_000_000, 1_099_978_900)},
    "processes": {
        "cgroup_id": u64(1, 1, 1355),
        "pid": u32(2, 917, 918),
        "start_ticks": u64(0, 301, 305),
        "flags": u8(1, 0, 2),
        "cpu_ns": u64(100_000_000, 300_000_000, 1_099_978_900),
        "comm": ["kthreadd", "sshd", "stress-ng"],
    },
    "losses": {"process_table_full": 2},
    "sources": [{"name": "ebpf", "up": True, "reason": ""}],
}
NO_ACTIVITY = {
    "cpus": {
        "cpu": u32(),
        "start_mono_ns": u64(),
        "stamp_mono_ns": u64(),
        "idle_ns": u64(),
        "lost_ns": u64(),
    },
    "cgroups": {"cgroup_id": u64(), "cpu_ns": u64()},
    "processes": {
        "cgroup_id": u64(),
        "pid": u32(),
        "start_ticks": u64(),
        "flags": u8(),
        "cpu_ns": u64(),
        "comm": [],
    },
}

# Two sockets, two counters that take turns, all that is optional, and a cgroup (1357, below 1355) that has
# been removed: its row is still there, that of another one below 1355 has become 1355's departed row.
ACTIVITY_2 = {
    **ACTIVITY,
    "cpus": {
        **ACTIVITY["cpus"],
        "socket": u32(0, 1),
        "offline_ns": u64(0, 0),
        "frequency_khz": u32(2_400_000, 800_000),
    },
    "cgroups": {
        "cgroup_id": u64(1, 1355, 1355, 1355, 1357),
        "socket": u32(0, 0, 1, 1, 0),
        "flags": u8(0, 0, 0, 1, 0),
        "cpu_ns": u64(400_000_000, 600_000_000, 399_978_900, 70_000_000, 30_000_000),
        "frequency_cycles": u64(960_000_000, 1_440_000_000, 319_983_120, 56_000_000, 72_000_000),
        "page_cache_hits": u64(12, 3_400, 0, 17, 5),
        "net_tx_softirqs": u64(9, 0, 0, 1, 0),
        "net_rx_softirqs": u64(11, 2, 0, 0, 0),
        "block_softirqs": u64(0, 40, 3, 0, 1),
        "counts": [
            u64(900_000_000, 700_000_000, 300_000_000, 50_000_000, 70_000_000),
            u64(5_000, 90_000, 40_000, 1_000, 2_000),
        ],
        "counts_enabled_ns": [
            u64(400_000_000, 600_000_000, 399_978_900, 70_000_000, 30_000_000),
            u64(400_000_000, 600_000_000, 399_978_900, 70_000_000, 30_000_000),
        ],
        "counts_running_ns": [
            u64(400_000_000, 300_000_000, 200_000_000, 70_000_000, 30_000_000),
            u64(400_000_000, 300_000_000, 199_978_900, 0, 30_000_000),
        ],
    },
    "processes": {
        "cgroup_id": u64(1, 1, 1355, 1355, 1357),
        "pid": u32(2, 917, 918, 918, 950),
        "start_ticks": u64(0, 301, 305, 305, 390),
        "flags": u8(1, 0, 0, 0, 2),
        "comm": ["kthreadd", "sshd", "stress-ng", "stress-ng", "true"],
        "cpu_ns": u64(100_000_000, 300_000_000, 600_000_000, 399_978_900, 30_000_000),
        "socket": u32(0, 0, 0, 1, 0),
        "frequency_cycles": u64(240_000_000, 720_000_000, 1_440_000_000, 319_983_120, 72_000_000),
        "page_cache_hits": u64(0, 12, 3_400, 0, 5),
        "net_tx_softirqs": u64(8, 1, 0, 0, 0),
        "net_rx_softirqs": u64(11, 0, 2, 0, 0),
        "block_softirqs": u64(0, 0, 40, 3, 1),
        "counts": [
            u64(200_000_000, 700_000_000, 700_000_000, 300_000_000, 70_000_000),
            u64(2_000, 3_000, 90_000, 40_000, 2_000),
        ],
        "counts_enabled_ns": [
            u64(100_000_000, 300_000_000, 600_000_000, 399_978_900, 30_000_000),
            u64(100_000_000, 300_000_000, 600_000_000, 399_978_900, 30_000_000),
        ],
        "counts_running_ns": [
            u64(100_000_000, 300_000_000, 300_000_000, 200_000_000, 30_000_000),
            u64(100_000_000, 300_000_000, 300_000_000, 199_978_900, 30_000_000),
        ],
    },
    "paths": {
        "cgroup_id": u64(1, 1355, 1357),
        "parent_id": u64(0, 1, 1355),
        "removed": u8(0, 0, 1),
        "path": ["/", "/docker", "/docker/ab12"],
    },
    "counters": ["cycles", "cache_misses"],
}

ZONES = {
    "zone": ["package", "dram"],
    "index": ["0", "0"],
    "source": ["rapl_sysfs", "rapl_sysfs"],
    "provenance": ["measured", "measured"],
    "model": ["", ""],
    "error_ratio_ppm": u32(0, 0),
    "mono_ns": u64(4_999_900_000, 4_999_950_000),
    "energy_uj": u64(123_456_789, 23_456_789),
    "raw": u64(262_143_000_000, 17),
    "raw_range": u64(262_143_328_850, 65_712_999_613),
    "raw_epoch": u64(1_000_000_000, 1_000_000_000),
    "gaps": u32(0, 1),
}
NO_ZONES = {
    "zone": [],
    "index": [],
    "source": [],
    "provenance": [],
    "model": [],
    "error_ratio_ppm": u32(),
    "mono_ns": u64(),
    "energy_uj": u64(),
    "raw": u64(),
    "raw_range": u64(),
    "raw_epoch": u64(),
    "gaps": u32(),
}
POWER = {**HEADER, "topic": "power", "producer": "power", "zones": ZONES, "sources": SOURCES}
# Two GPUs, of which one tells who uses it: one process that is there and, in the row with pid 0, those gone.
POWER_2 = {
    **POWER,
    "zones": {
        "zone": ["package", "gpu", "gpu"],
        "index": ["0", "GPU-7c", "0000:03:00.0"],
        "source": ["rapl_sysfs", "nvml", "drm"],
        "provenance": ["measured", "measured", "measured"],
        "model": ["", "", ""],
        "error_ratio_ppm": u32(0, 0, 0),
        "mono_ns": u64(4_999_900_000, 4_999_950_000, 4_999_980_000),
        "energy_uj": u64(123_456_789, 80_000_000, 5_000_000),
        "raw": u64(262_143_000_000, 17, 5_000_000),
        "raw_range": u64(262_143_328_850, 0, 0),
        "raw_epoch": u64(1_000_000_000, 0, 0),
        "gaps": u32(0, 1, 0),
    },
    "gpu_use": {
        "index": ["GPU-7c", "GPU-7c"],
        "pid": u32(0, 918),
        "start_ticks": u64(0, 305),
        "busy_ns": u64(20_000_000, 900_000_000),
    },
}
# A zone that can't be read, a meter whose zone isn't known, and a mirror; the GPUs began to count later.
ABSENT = {
    "source": ["rapl_sysfs", "rapl_sysfs", "rapl_sysfs"],
    "zone": ["dram", "", "package"],
    "index": ["0", "intel-rapl:3", "0-die-1"],
    "why": ["unreadable", "unreadable", "mirror"],
    "reason": ["energy_uj: Input/output error", "name: Permission denied", "shows the counter of package 0"],
}
NO_ABSENT = {"source": [], "zone": [], "index": [], "why": [], "reason": []}
POWER_4 = {
    **POWER_2,
    **USEFUL,
    "zones": {**POWER_2["zones"], "epoch": u64(0, 3_000_000_000, 4_000_000_000)},
    "absent": ABSENT,
}
# The second zone's source is preferred after three others, read twice a minute, and shows power.
POWER_5 = {
    **POWER_4,
    "zones": {
        **POWER_4["zones"],
        "rank": u32(0, 3, 0),
        "period_ns": u64(0, 30_000_000_000, 0),
        "integration_uj": u64(0, 412_000, 0),
    },
}

METADATA = {
    **HEADER,
    "topic": "metadata",
    "producer": "metadata",
    "covers_epoch": 1_000_000_000,
    "covers_mono_ns": 4_000_000_000,
    "cgroups": {
        "cgroup_id": u64(1, 1355),
        "path": ["/", "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab12.scope"],
        "container_id": ["", "ab12"],
        "runtime": ["", "containerd"],
        "pod_uid": ["", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"],
    },
    "processes": {
        "pid": u32(2, 917),
        "start_ticks": u64(0, 301),
        "kernel": u8(1, 0),
        "comm": ["kthreadd", "sshd"],
    },
    "sources": [{"name": "cgroups", "up": True, "reason": ""}],
}
# Two processes in cgroup2's root: one of the host, and one of a container that only cgroup v1 knows.
METADATA_2 = {
    **METADATA,
    "processes": {
        "pid": u32(2, 917, 918),
        "start_ticks": u64(0, 301, 305),
        "kernel": u8(1, 0, 0),
        "comm": ["kthreadd", "sshd", "stress-ng"],
        "container_id": ["", "", "cd34"],
        "runtime": ["", "", "docker"],
        "pod_uid": ["", "", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"],
    },
}
# A virtual machine of the host's, one in a container that was promised half a CPU, and one that only
# cgroup v1 knows.
METADATA_3 = {
    **METADATA_2,
    "cgroups": {
        "cgroup_id": u64(1, 1355, 1360, 1361),
        "path": [
            "/",
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab12.scope",
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/vcpu0",
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab12.scope/machine/qemu-1-db.libvirt-qemu/emulator",
        ],
        "container_id": ["", "ab12", "", "ab12"],
        "runtime": ["", "containerd", "", "containerd"],
        "pod_uid": ["", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11", "", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"],
        "vm_id": ["", "", "machine-qemu-1-web", "machine-qemu-1-db"],
        "cpu_request_m": u32(0, 500, 0, 500),
    },
    "processes": {**METADATA_2["processes"], "vm_id": ["", "machine-qemu-2-old", ""]},
}
# A container whose engine has told what it calls it.
METADATA_4 = {
    **METADATA_2,
    "containers": {"container_id": ["cd34"], "container_name": ["web-1"]},
}
# Units: a service, a pod's uid without a container, a path that tells nothing, and what only cgroup v1 knows.
METADATA_5 = {
    **METADATA_4,
    "cgroups": {
        "cgroup_id": u64(1, 1400, 1401, 1402, 1403),
        "path": [
            "/",
            "/system.slice/cron.service",
            "/kubepods/pod5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11/pause",
            "/strange/x",
            "/lxc.payload.web1/system.slice/nginx.service",
        ],
        "container_id": ["", "", "", "", "lxc-web1"],
        "runtime": ["", "", "", "", "lxc"],
        "pod_uid": ["", "", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11", "", ""],
        "unit": ["", "cron.service", "", "unmatched", ""],
    },
    "processes": {**METADATA_2["processes"], "unit": ["", "ssh.service", ""]},
    "containers": {"container_id": ["cd34", "lxc-web1"], "container_name": ["web-1", "web1"]},
}
# What Kubernetes has told of pods, and hypervisors of machines: a static pod, one whose name is awaited.
PODS = {
    "pod_uid": ["5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11", "0f3a4d6a9d9d4d5858b15f0c2f1e0d4f", "new"],
    "pod_name": ["web-7d4b9c-x2x5z", "etcd-node-7", ""],
    "namespace": ["shop", "kube-system", ""],
    "api_uid": ["", "a3b8e7a2-0f3b-45f6-8d5e-6f6f8b1f2c11", ""],
    "owner_kind": ["Deployment", "Node", ""],
    "owner_name": ["web", "node-7", ""],
    "qos_class": ["Burstable", "Guaranteed", ""],
    "is_awaited": u8(0, 0, 1),
}
POD_LABELS = {
    "pod_uid": ["5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"] * 2,
    "label": ["app", "team"],
    "value": ["web", "frontend"],
}
MACHINES = {
    "vm_id": ["machine-qemu-1-web", "machine-qemu-1-db"],
    "vm_name": ["web", "db"],
    "namespace": ["", "shop"],
    "uuid": ["", "c0ffee00-0f3b-45f6-8d5e-6f6f8b1f2c11"],
    "hypervisor": ["qemu", "qemu"],
}
NAMES = {"pods": PODS, "pod_labels": POD_LABELS, "machines": MACHINES}
NO_NAMES = {
    "pods": {"pod_uid": [], "pod_name": [], "namespace": []},
    "pod_labels": {"pod_uid": [], "label": [], "value": []},
    "machines": {"vm_id": [], "vm_name": []},
}
# A GPU that two containers share, one that another holds by a driver: of that the container isn't known.
DEVICES = {
    "pod_uid": ["5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"] * 2 + ["0f3a4d6a9d9d4d5858b15f0c2f1e0d4f"],
    "container_id": ["ab12", "cd34", ""],
    "resource": ["nvidia.com/gpu", "nvidia.com/gpu", "gpu.nvidia.com"],
    "device_id": [
        "GPU-8f6d1a3e-58b1-4d9d-9a31-0d4f6a0f3a11::0",
        "GPU-8f6d1a3e-58b1-4d9d-9a31-0d4f6a0f3a11::1",
        "node-7/gpu-1",
    ],
}
NO_DEVICES = {"pod_uid": [], "container_id": [], "resource": [], "device_id": []}
CONTAINER_KINDS = {"kind": ["container", ""], "is_awaited": u8(0, 1)}
NO_METADATA = {
    "cgroups": {"cgroup_id": u64(), "path": [], "container_id": [], "runtime": [], "pod_uid": []},
    "processes": {"pid": u32(), "start_ticks": u64(), "kernel": u8(), "comm": []},
}

ENERGY = {
    **HEADER,
    "topic": "energy",
    "producer": "calculator",
    "idle_policy": "node",
    "activity_epoch": 1_000_000_000,
    "activity_mono_ns": 4_999_000_000,
    "zones": {
        "zone": ["package", "dram"],
        "index": ["0", "0"],
        "source": ["rapl_sysfs", "rapl_sysfs"],
        "provenance": ["measured", "measured"],
        "model": ["", ""],
        "error_ratio_ppm": u32(0, 0),
        "watermark_mono_ns": u64(4_999_000_000, 4_998_000_000),
        "measured_uj": u64(100_000_000, 20_000_000),
        "idle_uj": u64(60_000_000, 15_000_000),
        "idle_power_uw": u64(15_000_000, 3_750_000),
        "gaps": u32(0, 1),
    },
    "unattributed": {
        "zone_row": u32(0, 1, 1),
        "mode": ["idle", "idle", "dynamic"],
        "reason": ["idle_policy", "idle_policy", "probe_gap"],
        "energy_uj": u64(60_000_000, 15_000_000, 1_000),
    },
    "containers": {
        "container_id": ["system_processes", "ab12"],
        "pod_uid": ["", "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"],
        "runtime": ["", "containerd"],
        "cpu_ns": u64(300_000_000, 1_099_978_900),
        "departed_cpu_ns": u64(0, 99_978_900),
        "dynamic_uj": [u64(10_000_000, 30_000_000), u64(999_000, 4_000_000)],
        "idle_uj": [u64(0, 0), u64(0, 0)],
        "departed_dynamic_uj": [u64(0, 3_000_000), u64(0, 400_000)],
        "departed_idle_uj": [u64(0, 0), u64(0, 0)],
    },
    "processes": {
        "container_row": u32(0, 1),
        "cgroup_id": u64(1, 1355),
        "pid": u32(917, 918),
        "start_ticks": u64(301, 305),
        "comm": ["sshd", "stress-ng"],
        "cpu_ns": u64(300_000_000, 1_000_000_000),
        "dynamic_uj": [u64(10_000_000, 27_000_000), u64(999_000, 3_600_000)],
        "idle_uj": [u64(0, 0), u64(0, 0)],
    },
    "sources": SOURCES,
}
# A platform and what it used besides its parts, all doubts, virtual machines, and what ended containers of
# a pod and of nobody used.
ENERGY_2 = {
    **ENERGY,
    "idle_policy": "requests",
    "activity_skew_ns": 21_000,
    "zones": {
        "zone": ["package", "platform", "other"],
        "index": ["0", "chassis-1", "chassis-1"],
        "source": ["rapl_sysfs", "redfish", "redfish"],
        "provenance": ["measured", "measured", "measured"],
        "model": ["", "", ""],
        "error_ratio_ppm": u32(0, 0, 0),
        "watermark_mono_ns": u64(4_999_000_000, 4_000_000_000, 4_000_000_000),
        "measured_uj": u64(100_000_000, 150_000_000, 60_000_000),
        "idle_uj": u64(60_000_000, 110_000_000, 50_000_000),
        "idle_power_uw": u64(15_000_000, 27_500_000, 12_500_000),
        "gaps": u32(0, 1, 1),
        "share_by": ["model", "cpu_time", ""],
        "model_error_ratio_ppm": u32(42_000, 0, 0),
        "idle_method": ["learned", "observed-min", "provisional"],
        "idle_doubt_uw": u64(350_000, 2_000_000, 12_500_000),
        "interpolation_uj": u64(12_000, 30_000_000, 11_000_000),
        "join_skew_ns": u64(98_000_000, 30_000_000_000, 30_000_000_000),
        "disagreement_uj": u64(0, 0, 123_456),
    },
    "unattributed": {
        "zone_row": u32(0, 1),
        "mode": ["dynamic", "dynamic"],
        "reason": ["power_gap", "probe_gap"],
        "energy_uj": u64(1_000, 2_000),
    },
    "containers": {
        "container_id": ["system_processes", "system_processes", "ab12", "ab12", "terminated", "terminated"],
        "pod_uid": [
            "",
            "",
            "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11",
            "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11",
            "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11",
            "",
        ],
        "runtime": ["", "", "containerd", "containerd", "", ""],
        "vm_id": ["", "machine-qemu-1-web", "", "machine-qemu-1-db", "", ""],
        "cpu_ns": u64(300_000_000, 200_000_000, 99_978_900, 500_000_000, 400_000_000, 7),
        "departed_cpu_ns": u64(0, 0, 99_978_900, 0, 400_000_000, 7),
        "dynamic_uj": [
            u64(9_999_000, 7_000_000, 3_000_000, 12_000_000, 8_000_000, 0),
            u64(9_998_000, 7_000_000, 3_000_000, 12_000_000, 8_000_000, 0),
            u64(1_000_000, 2_000_000, 3_000_000, 3_999_999, 0, 1),
        ],
        "idle_uj": [
            u64(0, 0, 60_000_000, 0, 0, 0),
            u64(0, 0, 100_000_000, 0, 10_000_000, 0),
            u64(0, 0, 50_000_000, 0, 0, 0),
        ],
        "departed_dynamic_uj": [
            u64(0, 0, 3_000_000, 0, 8_000_000, 0),
            u64(0, 0, 3_000_000, 0, 8_000_000, 0),
            u64(0, 0, 3_000_000, 0, 0, 1),
        ],
        "departed_idle_uj": [
            u64(0, 0, 60_000_000, 0, 0, 0),
            u64(0, 0, 100_000_000, 0, 10_000_000, 0),
            u64(0, 0, 50_000_000, 0, 0, 0),
        ],
    },
    "processes": {
        "container_row": u32(0, 1, 3),
        "cgroup_id": u64(1, 1360, 1361),
        "pid": u32(917, 920, 921),
        "start_ticks": u64(301, 310, 311),
        "comm": ["sshd", "qemu-kvm", "qemu-kvm"],
        "cpu_ns": u64(300_000_000, 200_000_000, 500_000_000),
        "dynamic_uj": [
            u64(9_999_000, 7_000_000, 12_000_000),
            u64(9_998_000, 7_000_000, 12_000_000),
            u64(1_000_000, 2_000_000, 3_999_999),
        ],
        "idle_uj": [u64(0, 0, 0), u64(0, 0, 0), u64(0, 0, 0)],
    },
}
ENERGY_3 = {
    **ENERGY_2,
    "containers": {**ENERGY_2["containers"], "container_name": ["", "", "web-1", "web-1", "", ""]},
}
# Host processes by unit, and what ran in a pod outside of its known containers.
ENERGY_4 = {
    **ENERGY_2,
    "containers": {
        **ENERGY_2["containers"],
        "container_id": [
            "system_processes",
            "system_processes",
            "ab12",
            "ab12",
            "terminated",
            "system_processes",
        ],
        "pod_uid": [*ENERGY_2["containers"]["pod_uid"][:5], "5f0c2f1e-58b1-4d9d-9a31-0d4f6a0f3a11"],
        "vm_id": ["", "", "", "machine-qemu-1-db", "", ""],
        "container_name": ["", "", "web-1", "web-1", "", ""],
        "unit": ["cron.service", "unmatched", "", "", "", ""],
    },
}
# Which sources own the slots; spares have no books.
OWNERS = {
    "is_owner": u8(1, 0, 1),
    "stream": ["power", "power", "power-bmc"],
    "rank": u32(0, 3, 7),
    "takeovers": u32(2, 1, 0),
    "integration_uj": u64(0, 0, 12_345),
}
SPARES = {
    "zone": ["platform"],
    "index": ["acpi"],
    "source": ["acpi"],
    "stream": ["power"],
    "rank": u32(9),
}
NO_ENERGY = {
    "zones": {
        "zone": [],
        "index": [],
        "source": [],
        "provenance": [],
        "model": [],
        "error_ratio_ppm": u32(),
        "watermark_mono_ns": u64(),
        "measured_uj": u64(),
        "idle_uj": u64(),
        "idle_power_uw": u64(),
        "gaps": u32(),
    },
    "unattributed": {"zone_row": u32(), "mode": [], "reason": [], "energy_uj": u64()},
    "containers": {
        "container_id": [],
        "pod_uid": [],
        "runtime": [],
        "cpu_ns": u64(),
        "departed_cpu_ns": u64(),
        "dynamic_uj": [],
        "idle_uj": [],
        "departed_dynamic_uj": [],
        "departed_idle_uj": [],
    },
    "processes": {
        "container_row": u32(),
        "cgroup_id": u64(),
        "pid": u32(),
        "start_ticks": u64(),
        "comm": [],
        "cpu_ns": u64(),
        "dynamic_uj": [],
        "idle_uj": [],
    },
}

STATUS = {
    **HEADER,
    "topic": "status",
    "producer": "power",
    "service": "power",
    "version": "0.1.0",
    "pid": 4711,
    "cpu_ns": 250_000_000,
    "memory_bytes": 19_000_000,
    "frames_sent": 8,
    "late_ticks": 1,
    "frames_lost": {"activity": 2},
    "frames_refused": {"newer_schema": 1},
    "errors": {"retry": 3},
}


def changed(frame: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The frame with other fields; `...` takes one away, a map changes the fields of a table."""
    result = dict(frame)
    for name, value in fields.items():
        if value is ...:
            del result[name]
        elif isinstance(value, dict) and isinstance(frame.get(name), dict):
            result[name] = changed(frame[name], **value)
        else:
            result[name] = value
    return result


def optional_left_out(frame: dict[str, Any]) -> dict[str, Any]:
    optional = {"sources", "losses", "frames_lost", "frames_refused", "errors"}
    return {name: value for name, value in frame.items() if name not in optional}


VALID = {
    "activity_full": ACTIVITY,
    "activity_empty": optional_left_out({**ACTIVITY, **NO_ACTIVITY}),
    "activity_full_2": ACTIVITY_2,
    # Since the header tells whether the stage's content advances.
    "activity_full_3": changed(ACTIVITY_2, **USEFUL),
    "activity_optional_columns_empty": changed(
        ACTIVITY_2,
        cpus={"socket": u32(), "offline_ns": u64(), "frequency_khz": u32()},
        cgroups={"flags": u8(), "page_cache_hits": u64(), "block_softirqs": u64()},
        processes={"socket": u32(), "net_tx_softirqs": u64(), "net_rx_softirqs": u64()},
    ),
    "activity_optional_columns_left_out": changed(
        ACTIVITY_2,
        cpus={"frequency_khz": ...},
        cgroups={"frequency_cycles": ..., "page_cache_hits": ..., "socket": ...},
        processes={"frequency_cycles": ..., "page_cache_hits": ..., "socket": ...},
        paths=...,
    ),
    "activity_counters_none": changed(
        ACTIVITY_2,
        counters=[],
        cgroups={"counts": [], "counts_enabled_ns": [], "counts_running_ns": []},
        processes={"counts": ..., "counts_enabled_ns": ..., "counts_running_ns": ...},
    ),
    "activity_fields_added": changed(
        ACTIVITY,
        temperature_mk=300_000,
        processes={"numa_node": u32(0, 0, 1)},
        swap={"nested": [1, [2, {"three": None}]], "ratio": 0.5},
    ),
    "activity_names_hostile": changed(
        ACTIVITY, processes={"comm": ["a\nb", "\x1b[2J", "\u202eexe.txt"]}, node="x\x00\x85\u2028y"
    ),
    "activity_losses_names_hostile": changed(ACTIVITY, losses={'a\n"b': 1}),
    # A str that isn't UTF-8, as a careless publisher sends a process's name.
    "activity_names_not_utf_8": msgpack.packb(ACTIVITY).replace(b"sshd", b"s\xff\xfed"),
    "power_full": POWER,
    "power_full_2": POWER_2,
    "power_full_3": changed(POWER_2, **USEFUL),
    "power_full_4": POWER_4,
    "power_full_5": POWER_5,
    "power_optional_columns_left_out": changed(POWER_4, zones={"epoch": ...}, absent=...),
    "power_optional_columns_empty": changed(POWER_4, zones={"epoch": u64()}, absent=NO_ABSENT),
    "power_gpu_use_empty": changed(
        POWER_2, gpu_use={"index": [], "pid": u32(), "start_ticks": u64(), "busy_ns": u64()}
    ),
    "power_empty": optional_left_out({**POWER, "zones": NO_ZONES}),
    "power_fields_added": changed(POWER, zones={"phase": ["a", "b"]}, rack={"unit": 7}),
    "power_largest_numbers": changed(
        POWER,
        epoch=U64_MAX,
        run=U64_MAX,
        seq=U64_MAX,
        mono_ns=U64_MAX,
        zones={"energy_uj": u64(U64_MAX, 0), "gaps": u32(2**32 - 1, 0)},
    ),
    "metadata_full": METADATA,
    "metadata_full_2": METADATA_2,
    "metadata_full_3": METADATA_3,
    "metadata_full_4": METADATA_4,
    "metadata_full_5": changed(METADATA_4, **USEFUL),
    "metadata_full_6": changed(METADATA_5, **USEFUL),
    "metadata_full_7": changed(
        METADATA_5, **NAMES, containers={**CONTAINER_KINDS, "container_name": ["web-1", ""]}
    ),
    "metadata_names_empty": {**METADATA_5, **NO_NAMES},
    "metadata_full_devices": changed(METADATA_5, **NAMES, devices=DEVICES),
    "metadata_devices_empty": {**METADATA_5, "devices": NO_DEVICES},
    "metadata_containers_empty": changed(METADATA_4, containers={"container_id": [], "container_name": []}),
    "metadata_optional_columns_left_out": changed(
        METADATA_3, cgroups={"vm_id": ...}, processes={"container_id": ..., "runtime": ..., "pod_uid": ...}
    ),
    "metadata_optional_columns_empty": changed(
        METADATA_2, processes={"container_id": [], "runtime": [], "pod_uid": []}
    ),
    "metadata_empty": optional_left_out({**METADATA, **NO_METADATA}),
    "metadata_fields_added": changed(METADATA, cgroups={"owner": ["root", "app"]}, cluster="blue"),
    "energy_full": ENERGY,
    "energy_full_2": ENERGY_2,
    "energy_full_3": ENERGY_3,
    "energy_full_4": changed(ENERGY_3, **USEFUL),
    "energy_full_5": changed(
        ENERGY_3, **USEFUL, zones={"is_listed": u8(1, 1, 0), "reading_interval_ns": u64(10**9, 10**9, 0)}
    ),
    "energy_full_6": changed(
        ENERGY_4, **USEFUL, zones={"is_listed": u8(1, 1, 0), "reading_interval_ns": u64(10**9, 10**9, 0)}
    ),
    "energy_full_7": changed(ENERGY_3, **USEFUL, absent=ABSENT),
    "energy_full_8": changed(ENERGY_3, **USEFUL, zones=OWNERS, spares=SPARES),
    "energy_full_9": changed(
        ENERGY_4,
        **NAMES,
        containers={
            "kind": ["", "", "sidecar", "sidecar", "", ""],
            "is_awaited": u8(0, 0, 0, 0, 0, 0),
        },
    ),
    "energy_names_empty": {**ENERGY_4, **NO_NAMES},
    "energy_optional_columns_empty": changed(
        ENERGY_2,
        zones={"share_by": [], "model_error_ratio_ppm": u32(), "idle_doubt_uw": u64()},
        containers={"vm_id": []},
    ),
    "energy_optional_columns_left_out": changed(
        ENERGY_2,
        activity_skew_ns=...,
        zones={"idle_method": ..., "interpolation_uj": ..., "join_skew_ns": ..., "disagreement_uj": ...},
        containers={"vm_id": ...},
    ),
    "energy_empty": optional_left_out({**ENERGY, **NO_ENERGY}),
    "energy_zones_without_workloads": {**ENERGY, **NO_ENERGY, "zones": ENERGY["zones"]}
    | {
        "containers": changed(
            NO_ENERGY["containers"],
            dynamic_uj=[u64(), u64()],
            idle_uj=[u64(), u64()],
            departed_dynamic_uj=[u64(), u64()],
            departed_idle_uj=[u64(), u64()],
        ),
        "processes": changed(NO_ENERGY["processes"], dynamic_uj=[u64(), u64()], idle_uj=[u64(), u64()]),
    },
    "energy_fields_added": changed(ENERGY, unattributed={"since_mono_ns": u64(1, 2, 3)}, price_ppm=5),
    "status_full": STATUS,
    "status_full_2": changed(STATUS, **USEFUL),
    "status_empty": optional_left_out(STATUS),
    "status_fields_added": changed(STATUS, threads=3),
}

_POWER_PACKED = msgpack.packb(POWER)
# A map of one key whose value claims a length far beyond what follows.
_KEY = b"\x81\xa4node"

INVALID: dict[str, Any] = {
    "newer_schema__2": changed(POWER, schema=2),
    "newer_schema__largest": changed(POWER, schema=U64_MAX),
    "newer_schema__all_else_changed": {"schema": 9, "subject": "power"},
    "unknown_topic__missing": changed(POWER, topic=...),
    "unknown_topic__other": changed(POWER, topic="powerful"),
    "unknown_topic__empty": changed(POWER, topic=""),
    "unknown_topic__a_list": changed(POWER, topic=["power"]),
    "wrong_topic__energy_sent_as_power": ENERGY,
    "wrong_topic__status_sent_as_activity": STATUS,
    "not_msgpack__empty": b"",
    "not_msgpack__unused_byte_c1": b"\xc1",
    "not_msgpack__half": _POWER_PACKED[: len(_POWER_PACKED) // 2],
    "not_msgpack__last_byte_missing": _POWER_PACKED[:-1],
    "not_msgpack__a_byte_too_many": _POWER_PACKED + b"\x00",
    "not_msgpack__two_frames": _POWER_PACKED * 2,
    "invalid__key_is_a_number": msgpack.packb({**POWER, 5: 1}),
    "invalid__key_is_a_list": b"\x81\x91\x01\x01",
    "not_msgpack__arrays_nested_5000_deep": b"\x91" * 5000,
    "not_msgpack__maps_nested_5000_deep": b"\x81\xa1a" * 5000,
    "not_msgpack__text_claims_4_gb": _KEY + b"\xdb\xff\xff\xff\xff",
    "not_msgpack__bytes_claim_4_gb": _KEY + b"\xc6\xff\xff\xff\xff",
    "not_msgpack__array_claims_4_g_rows": _KEY + b"\xdd\xff\xff\xff\xff",
    "not_msgpack__arrays_claim_a_million_rows_each": _KEY + b"\xdd\x00\x0f\x42\x40" * 500,
    "not_msgpack__map_claims_4_g_keys": _KEY + b"\xdf\xff\xff\xff\xff",
    "not_msgpack__map_of_5000_keys": msgpack.packb({**POWER, "x": {str(key): 0 for key in range(5000)}}),
    "not_msgpack__text_of_70000_bytes": changed(POWER, node="n" * 70_000),
    "not_msgpack__extension": changed(POWER, x=msgpack.ExtType(5, b"\x00")),
    "not_msgpack__extension_claims_4_gb": _KEY + b"\xc9\xff\xff\xff\xff\x05",
    "not_msgpack__timestamp": changed(POWER, x=msgpack.Timestamp(1)),
    "not_a_map__array": ["power", 1],
    "not_a_map__nil": None,
    "not_a_map__number": 1,
    "not_a_map__text": "power",
    "not_msgpack__nested_9_deep": changed(POWER, x=[[[[[[[[1]]]]]]]]),
    "invalid__schema_missing": changed(POWER, schema=...),
    "invalid__schema_0": changed(POWER, schema=0),
    "invalid__schema_negative": changed(POWER, schema=-1),
    "invalid__schema_is_text": changed(POWER, schema="1"),
    "invalid__seq_missing": changed(POWER, seq=...),
    "invalid__seq_negative": changed(POWER, seq=-1),
    "invalid__seq_is_a_float": changed(POWER, seq=1.0),
    "invalid__seq_is_true": changed(POWER, seq=True),
    "invalid__mono_ns_negative": changed(POWER, mono_ns=-5),
    "invalid__epoch_is_nil": changed(POWER, epoch=None),
    "invalid__node_missing": changed(POWER, node=...),
    "invalid__node_is_a_number": changed(POWER, node=7),
    "invalid__node_is_bytes": changed(POWER, node=b"node-7"),
    "invalid__key_is_bytes": {**POWER, b"extra": 1},
    "invalid__table_missing": changed(POWER, zones=...),
    "invalid__table_is_a_list": changed(POWER, zones=[]),
    "invalid__column_missing": changed(POWER, zones={"raw": ...}),
    "invalid__column_lengths_differ": changed(POWER, zones={"raw": u64(1, 2, 3)}),
    "invalid__column_dtype_other": changed(POWER, zones={"raw": u32(1, 2)}),
    "invalid__column_dtype_unknown": changed(POWER, zones={"raw": ["i64", bytes(16)]}),
    "invalid__column_dtype_is_a_list": changed(POWER, zones={"raw": [["u64"], bytes(16)]}),
    "invalid__column_bytes_odd": changed(POWER, zones={"raw": ["u64", bytes(15)]}),
    "invalid__column_data_is_text": changed(POWER, zones={"raw": ["u64", "0" * 16]}),
    "invalid__column_is_bytes": changed(POWER, zones={"raw": bytes(16)}),
    "invalid__column_of_three": changed(POWER, zones={"raw": ["u64", bytes(16), 0]}),
    "invalid__column_is_plain_numbers": changed(POWER, zones={"raw": [1, 2]}),
    "invalid__names_too_few": changed(POWER, zones={"model": [""]}),
    "invalid__names_are_numbers": changed(POWER, zones={"model": [1, 2]}),
    "invalid__names_are_bytes": changed(POWER, zones={"model": [b"", b""]}),
    "invalid__sources_are_names": changed(POWER, sources=["rapl_sysfs"]),
    "invalid__source_without_name": changed(POWER, sources=[{"up": True}]),
    "invalid__source_up_is_a_number": changed(POWER, sources=[{"name": "rapl_sysfs", "up": 1}]),
    "invalid__losses_negative": changed(ACTIVITY, losses={"process_table_full": -1}),
    "invalid__losses_is_a_list": changed(ACTIVITY, losses=[1]),
    "invalid__skew_negative": changed(ACTIVITY, skew_ns=-1),
    "invalid__comm_too_many": changed(ACTIVITY, processes={"comm": ["a", "b", "c", "d"]}),
    "invalid__pid_as_u64": changed(ACTIVITY, processes={"pid": u64(2, 917, 918)}),
    "invalid__optional_column_too_short": changed(ACTIVITY_2, processes={"page_cache_hits": u64(0, 12)}),
    "invalid__optional_column_too_long": changed(ACTIVITY_2, cpus={"frequency_khz": u32(1, 2, 3)}),
    "invalid__optional_column_without_rows": {
        **ACTIVITY,
        **NO_ACTIVITY,
        "cgroups": {**NO_ACTIVITY["cgroups"], "flags": u8(1)},
    },
    "invalid__optional_names_too_few": changed(METADATA_2, processes={"container_id": ["", "cd34"]}),
    "invalid__optional_column_dtype_other": changed(ACTIVITY_2, cgroups={"flags": u32(0, 0, 0, 1, 0)}),
    "invalid__gpu_use_lengths_differ": changed(POWER_2, gpu_use={"busy_ns": u64(1)}),
    "invalid__gpu_use_pid_as_u64": changed(POWER_2, gpu_use={"pid": u64(0, 918)}),
    "invalid__gpu_use_without_start_ticks": changed(POWER_2, gpu_use={"start_ticks": ...}),
    "invalid__gpu_use_is_a_list": changed(POWER_2, gpu_use=[]),
    "invalid__vm_ids_too_few": changed(METADATA_3, cgroups={"vm_id": [""]}),
    "invalid__vm_ids_of_processes_too_many": changed(METADATA_3, processes={"vm_id": [""] * 4}),
    "invalid__units_too_few": changed(METADATA_5, cgroups={"unit": ["cron.service"]}),
    "invalid__units_of_processes_too_many": changed(METADATA_5, processes={"unit": [""] * 4}),
    "invalid__units_of_containers_too_few": changed(ENERGY_4, containers={"unit": ["cron.service"]}),
    "invalid__container_names_too_few": changed(METADATA_4, containers={"container_name": []}),
    "invalid__container_kinds_too_few": changed(
        METADATA_4, containers={"kind": []} | {"is_awaited": u8(0, 1)}
    ),
    "invalid__pod_names_too_few": changed(METADATA_5, pods={**PODS, "pod_name": ["web"]}),
    "invalid__pods_awaited_as_u32": changed(METADATA_5, pods={**PODS, "is_awaited": u32(0, 0, 1)}),
    "invalid__pod_labels_without_values": changed(METADATA_5, pod_labels={**POD_LABELS, "value": []}),
    "invalid__machine_names_missing": changed(ENERGY_4, machines={"vm_id": ["machine-qemu-1-web"]}),
    "invalid__devices_without_ids": changed(METADATA_5, devices={**DEVICES, "device_id": []}),
    "invalid__devices_of_containers_missing": changed(
        METADATA_5, devices={name: column for name, column in DEVICES.items() if name != "container_id"}
    ),
    "invalid__devices_is_a_list": changed(METADATA_5, devices=[]),
    "invalid__pods_is_a_list": changed(ENERGY_4, pods=[]),
    "invalid__container_names_missing": changed(METADATA_4, containers={"container_name": ...}),
    "invalid__container_names_of_containers_too_few": changed(
        ENERGY_3, containers={"container_name": ["web-1"]}
    ),
    "invalid__cpu_request_as_u64": changed(METADATA_3, cgroups={"cpu_request_m": u64(0, 500, 0, 500)}),
    "invalid__activity_skew_negative": changed(ENERGY_2, activity_skew_ns=-1),
    "invalid__share_by_too_few": changed(ENERGY_2, zones={"share_by": ["model"]}),
    "invalid__idle_doubt_too_long": changed(ENERGY_2, zones={"idle_doubt_uw": u64(1, 2, 3, 4)}),
    "invalid__model_error_ratio_as_u64": changed(ENERGY_2, zones={"model_error_ratio_ppm": u64(1, 2, 3)}),
    "invalid__vm_ids_of_containers_too_few": changed(
        ENERGY_2, containers={"vm_id": ["", "machine-qemu-1-web"]}
    ),
    "invalid__columns_per_counter_too_few": changed(
        ACTIVITY_2, cgroups={"counts": ACTIVITY_2["cgroups"]["counts"][:1]}
    ),
    "invalid__columns_per_counter_too_many": changed(
        ACTIVITY_2, processes={"counts_running_ns": ACTIVITY_2["processes"]["counts_running_ns"] * 2}
    ),
    "invalid__columns_per_counter_missing": changed(ACTIVITY_2, processes={"counts_enabled_ns": ...}),
    "invalid__columns_without_counters": changed(ACTIVITY_2, counters=...),
    "invalid__column_per_counter_too_short": changed(
        ACTIVITY_2, cgroups={"counts": [u64(1, 2, 3, 4, 5), u64(1, 2, 3, 4)]}
    ),
    "invalid__column_per_counter_empty": changed(ACTIVITY_2, cgroups={"counts": [u64(1, 2, 3, 4, 5), u64()]}),
    "invalid__counters_are_one_text": changed(ACTIVITY_2, counters="cycles"),
    "invalid__paths_lengths_differ": changed(ACTIVITY_2, paths={"parent_id": u64(0, 1)}),
    "invalid__paths_without_removed": changed(ACTIVITY_2, paths={"removed": ...}),
    "invalid__covers_missing": changed(METADATA, covers_mono_ns=...),
    "invalid__is_owner_too_few": changed(ENERGY_3, zones={"is_owner": u8(1)}),
    "invalid__spares_ranks_too_few": changed(ENERGY_3, spares={**SPARES, "rank": u32()}),
    "invalid__is_listed_too_few": changed(ENERGY_3, zones={"is_listed": u8(1)}),
    "invalid__zone_row_out_of_range": changed(ENERGY, unattributed={"zone_row": u32(0, 1, 2)}),
    "invalid__container_row_out_of_range": changed(ENERGY, processes={"container_row": u32(0, 2)}),
    "invalid__columns_per_zone_too_few": changed(ENERGY, processes={"idle_uj": [u64(0, 0)]}),
    "invalid__columns_per_zone_too_many": changed(
        ENERGY, containers={"idle_uj": [u64(0, 0), u64(0, 0), u64(0, 0)]}
    ),
    "invalid__column_per_zone_too_short": changed(ENERGY, containers={"idle_uj": [u64(0), u64(0, 0)]}),
    "invalid__column_per_zone_flat": changed(ENERGY, containers={"idle_uj": u64(0, 0)}),
    "invalid__errors_count_is_text": changed(STATUS, errors={"retry": "3"}),
    "invalid__failed_turns_negative": changed(STATUS, failed_turns=-1),
    "invalid__zone_epochs_too_few": changed(POWER_4, zones={"epoch": u64(1)}),
    "invalid__zone_ranks_too_few": changed(POWER_5, zones={"rank": u32(1)}),
    "invalid__absent_lengths_differ": changed(POWER_4, absent={"why": ["mirror"]}),
    "invalid__absent_without_reason": changed(POWER_4, absent={"reason": ...}),
    "invalid__absent_too_many": changed(POWER_4, absent={name: [""] * 257 for name in ABSENT}),
    "invalid__useful_as_text": changed(POWER, useful_mono_ns="5"),
    "invalid__memory_negative": changed(STATUS, memory_bytes=-1),
}


def packed(content: Any) -> bytes:
    return content if isinstance(content, bytes) else bytes(msgpack.packb(content))


def frames() -> dict[str, bytes]:
    """Bytes of every fixture by its path below `fixtures`."""
    return {
        f"{folder}/{name}.frame": packed(content)
        for folder, group in (("valid", VALID), ("invalid", INVALID))
        for name, content in group.items()
    }


if __name__ == "__main__":
    for path, data in frames().items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_bytes(data)
