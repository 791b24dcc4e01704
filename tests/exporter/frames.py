# SPDX-License-Identifier: Apache-2.0
"""Frames for the exporter's tests: by hand, and random ones whose books close."""

from hypothesis import strategies as st

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    AbsentZones,
    Energy,
    EnergyContainers,
    EnergyProcesses,
    EnergyUnattributed,
    EnergyZones,
    Metadata,
    MetadataCgroups,
    MetadataProcesses,
    SourceState,
    Status,
)
from wattline.wire.identities import Machines, PodLabels, Pods, no_machines, no_pods

BOOT_ID = "5d0ed51e-3e3c-4c4a-8f3b-0a4b5a3f0c11"
NOW_NS = 5_000_000_000_000  # CLOCK_MONOTONIC of the frames
UNIX_NS = 1_700_000_000_250_000_000
INTERVAL_NS = 1_000_000_000
ZONE_NAMES = ("package", "core", "uncore", "dram", "other", "gpu", "platform", "psys", "fpga")
HOSTILE = (
    'quo"te', "back\\slash", "\\", '"', 'a="b",c', "new\nline", "x} 1", "# HELP", "", "ü", "\\n", "tab\t",
    '\\"', "a\u2028b", "{}", "%s%d",
)  # fmt: skip


def header(producer, *, mono_ns=NOW_NS, unix_ns=UNIX_NS, interval_ns=INTERVAL_NS, seq=7, boot_id=BOOT_ID):
    return {
        "node": "node-1",
        "boot_id": boot_id,
        "producer": producer,
        "epoch": 1,
        "run": 2,
        "seq": seq,
        "mono_ns": mono_ns,
        "unix_ns": unix_ns,
        "interval_ns": interval_ns,
    }


def status(service, *, mono_ns=NOW_NS, **fields):
    known = {
        "service": service,
        "version": "0.1.0",
        "pid": 4711,
        "cpu_ns": 1_250_000_000,
        "memory_bytes": 31_457_280,
        "frames_sent": 42,
        "late_ticks": 1,
    }
    return Status(**header(service, mono_ns=mono_ns), **(known | fields))


def metadata(*, sources=(), mono_ns=NOW_NS):
    return Metadata(
        **header("metadata", mono_ns=mono_ns),
        covers_epoch=1,
        covers_mono_ns=NOW_NS,
        cgroups=MetadataCgroups(cgroup_id=U64(), path=[], container_id=[], runtime=[], pod_uid=[]),
        processes=MetadataProcesses(pid=U32(), start_ticks=U64(), kernel=U8(), comm=[]),
        sources=list(sources),
    )


def books(
    zones,
    containers,
    processes,
    unattributed,
    *,
    idle_policy="node",
    sources=(),
    mono_ns=NOW_NS,
    watermark_ns=NOW_NS,
    interval_ns=INTERVAL_NS,
    boot_id=BOOT_ID,
    vm_ids=(),
    container_names=(),
    units=(),
    doubt=None,
    activity_skew_ns=0,
    absent=(),
    kinds=(),
    awaited=(),
    pods=None,
    pod_labels=(),
    machines=None,
):
    """An energy frame whose books close, from its finest rows; containers and zones are summed here.

    zones: (zone, index, source) each. containers: (id, pod_uid, runtime, departed_cpu_ns,
    departed_dynamic_uj per zone, departed_idle_uj per zone) each. processes: (container row, pid, start,
    comm, cpu_ns, dynamic_uj per zone, idle_uj per zone) each. unattributed: (zone row, mode, reason, µJ)
    each. vm_ids, container_names, units: of each container row, if any has one. doubt: optional columns of
    zones, by name. absent: (source, zone, index, why, reason) each. kinds, awaited: of each container row.
    pods, machines: columns by name. pod_labels: (pod uid, label, value) each.
    """

    def of_container(row, own, process_value):
        return own + sum(process_value(process) for process in processes if process[0] == row)

    def per_zone(table, field):
        return [U64([row[field][zone] for row in table]) for zone in range(len(zones))]

    def summed(departed_field, process_field):
        return [
            U64(
                [
                    of_container(row, container[departed_field][zone], lambda p: p[process_field][zone])  # noqa: B023
                    for row, container in enumerate(containers)
                ]
            )
            for zone in range(len(zones))
        ]

    dynamic_uj, idle_uj = summed(4, 5), summed(5, 6)
    lost = {
        mode: [sum(u[3] for u in unattributed if u[0] == zone and u[1] == mode) for zone in range(len(zones))]
        for mode in ("dynamic", "idle")
    }
    zone_idle_uj = [sum(idle_uj[zone]) + lost["idle"][zone] for zone in range(len(zones))]
    zone_dynamic_uj = [sum(dynamic_uj[zone]) + lost["dynamic"][zone] for zone in range(len(zones))]
    estimated = [source == "estimator" for _zone, _index, source in zones]
    return Energy(
        **header("calculator", mono_ns=mono_ns, interval_ns=interval_ns, boot_id=boot_id),
        idle_policy=idle_policy,
        activity_epoch=1,
        activity_mono_ns=mono_ns,
        activity_skew_ns=activity_skew_ns,
        zones=EnergyZones(
            zone=[zone for zone, _index, _source in zones],
            index=[index for _zone, index, _source in zones],
            source=[source for _zone, _index, source in zones],
            provenance=["estimated" if one else "measured" for one in estimated],
            model=["cpu-time-1" if one else "" for one in estimated],
            error_ratio_ppm=U32([150_000 if one else 0 for one in estimated]),
            watermark_mono_ns=U64([watermark_ns] * len(zones)),
            measured_uj=U64([a + b for a, b in zip(zone_dynamic_uj, zone_idle_uj, strict=True)]),
            idle_uj=U64(zone_idle_uj),
            idle_power_uw=U64([12_500_000 if row == 0 else 0 for row in range(len(zones))]),
            gaps=U32(range(len(zones))),
            **(doubt or {}),
        ),
        unattributed=EnergyUnattributed(
            zone_row=U32([u[0] for u in unattributed]),
            mode=[u[1] for u in unattributed],
            reason=[u[2] for u in unattributed],
            energy_uj=U64([u[3] for u in unattributed]),
        ),
        containers=EnergyContainers(
            container_id=[container[0] for container in containers],
            pod_uid=[container[1] for container in containers],
            runtime=[container[2] for container in containers],
            cpu_ns=U64(
                [
                    of_container(row, container[3], lambda process: process[4])
                    for row, container in enumerate(containers)
                ]
            ),
            departed_cpu_ns=U64([container[3] for container in containers]),
            dynamic_uj=dynamic_uj,
            idle_uj=idle_uj,
            departed_dynamic_uj=per_zone(containers, 4),
            departed_idle_uj=per_zone(containers, 5),
            vm_id=list(vm_ids),
            container_name=list(container_names),
            unit=list(units),
            kind=list(kinds),
            is_awaited=U8(awaited),
        ),
        processes=EnergyProcesses(
            container_row=U32([process[0] for process in processes]),
            cgroup_id=U64([1000 + process[0] for process in processes]),
            pid=U32([process[1] for process in processes]),
            start_ticks=U64([process[2] for process in processes]),
            comm=[process[3] for process in processes],
            cpu_ns=U64([process[4] for process in processes]),
            dynamic_uj=per_zone(processes, 5),
            idle_uj=per_zone(processes, 6),
        ),
        sources=list(sources),
        absent=AbsentZones(
            source=[one[0] for one in absent],
            zone=[one[1] for one in absent],
            index=[one[2] for one in absent],
            why=[one[3] for one in absent],
            reason=[one[4] for one in absent],
        ),
        pods=no_pods() if pods is None else Pods(**pods),
        pod_labels=PodLabels(
            pod_uid=[one[0] for one in pod_labels],
            label=[one[1] for one in pod_labels],
            value=[one[2] for one in pod_labels],
        ),
        machines=no_machines() if machines is None else Machines(**machines),
    )


def small():
    """A node with two sockets, memory, a platform meter, psys and a GPU, and two of each kind of workload.

    A container with a virtual machine in it and one without, another machine of the system's, the kernel,
    what ended containers of two pods and of nobody used, and units: a service, an unmatched cgroup and a
    pod's rest. A container and a pod whose names are awaited.
    """
    zones = [
        ("package", "0", "rapl-sysfs"),
        ("package", "1", "rapl-sysfs"),
        ("dram", "0", "rapl-sysfs"),
        ("platform", "chassis-1", "redfish"),
        ("psys", "0", "rapl-sysfs"),
        ("gpu", "GPU-7c", "estimator"),
        ("other", "chassis-1", "redfish"),
    ]
    none = [0] * len(zones)
    containers = [
        ("3f2a", "b1946ac9-2c1f", "containerd", 500_000_001, [10, 20, 30, 40, 50, 60, 70], none),
        ("system_processes", "", "", 0, none, none),
        ("kernel_processes", "", "", 0, none, none),
        ("unknown_processes", "", "", 7, none, none),
        ("3f2a", "b1946ac9-2c1f", "containerd", 4, [1, 1, 1, 1, 1, 1, 1], none),
        ("system_processes", "", "", 0, none, none),
        ("terminated", "b1946ac9-2c1f", "", 9_000, [100, 200, 300, 400, 500, 600, 700], none),
        ("terminated", "e5f6", "", 90_000, [7, 6, 5, 4, 3, 2, 1], none),
        ("terminated", "", "", 900_000, [1_000, 0, 0, 0, 0, 0, 0], none),
        ("77bb", "", "docker", 3, [2, 2, 2, 2, 2, 2, 2], none),
        ("system_processes", "", "", 11, [3, 3, 3, 3, 3, 3, 3], none),
        ("system_processes", "", "", 22, [4, 4, 4, 4, 4, 4, 4], none),
        ("system_processes", "b1946ac9-2c1f", "", 44, [8, 8, 8, 8, 8, 8, 8], none),
        ("90d1", "", "containerd", 88, [16, 16, 16, 16, 16, 16, 16], none),
        ("e4b7", "d41d", "containerd", 176, [32, 32, 32, 32, 32, 32, 32], none),
    ]
    vm_ids = ["", "", "", "", "machine-qemu-1-web", 'machine-qemu-2-d"b', *[""] * 9]
    container_names = ["api", "", "", "", "api", "", "", "", "", 'ca"che_1', *[""] * 5]
    units = [*[""] * 10, "cron.service", "unmatched", *[""] * 3]
    processes = [
        (0, 101, 5000, 'we"b', 1_500_000_000,
         [3_000_000, 1_000_001, 250_000, 9_000_000, 4_000_000, 9, 5_000_000], none),
        # In two cgroups of its container
        (0, 102, 5001, "back\\slash", 999_999, [1, 0, 999_999, 2, 3, 0, 0], none),
        (0, 102, 5001, "back\\slash", 1, [1, 1, 1, 1, 1, 1, 1], none),
        # A pid that another process of the same name has taken over
        (0, 103, 6000, "sh", 20, [100, 200, 300, 400, 500, 600, 0], none),
        (0, 103, 7000, "sh", 30, [6, 5, 4, 3, 2, 1, 0], none),
        (1, 1, 2, "init", 123_456_789_012, [1_000_000_000_000_000_007, 5, 5, 5, 5, 5, 5], none),
        (2, 2, 0, "kthreadd", 0, none, none),
        # Virtual machines; the second one's threads are in two cgroups
        (4, 110, 6500, "qemu-kvm", 40_000_000, [500_000, 1, 20_000, 600_000, 3, 0, 80_000], none),
        (5, 111, 6600, "qemu-kvm", 50_000_000, [700_000, 2, 30_000, 800_000, 3, 0, 70_000], none),
        (5, 111, 6600, "qemu-kvm", 2, [1, 1, 1, 1, 1, 1, 1], none),
    ]  # fmt: skip
    unattributed = [
        (0, "idle", "idle_policy", 20_000_000),
        (1, "idle", "idle_policy", 18_000_001),
        (3, "idle", "idle_policy", 90_000_000),
        (6, "idle", "idle_policy", 52_000_000),
        (0, "dynamic", "probe_gap", 5),
        (3, "dynamic", "no_activity", 1),
    ]
    sources = [
        SourceState(name="ebpf", up=True),
        SourceState(name="rapl-sysfs", up=True),
        SourceState(name="redfish", up=False, reason="timed out"),
    ]
    doubt = {
        "share_by": ["model", "cycles", "cache_misses", "cpu_time", "frequency", "gpu_time", ""],
        "model_error_ratio_ppm": U32([42_000, 0, 0, 0, 0, 0, 0]),
        "idle_method": ["learned", "learned", "provisional", "observed-min", "fixed", "fixed", ""],
        "idle_doubt_uw": U64([350_000, 400_000, 2_000_000, 0, 0, 0, 0]),
        "interpolation_uj": U64([12_000, 11_999, 0, 60_000_000, 1, 2, 3]),
        "join_skew_ns": U64([99_000_000, 98_999_999, 0, 30_000_000_000, 0, 0, 1]),
        "disagreement_uj": U64([0, 0, 0, 0, 0, 0, 123_456]),
    }
    return books(
        zones,
        containers,
        processes,
        unattributed,
        sources=sources,
        watermark_ns=NOW_NS - 500_000_000,
        vm_ids=vm_ids,
        container_names=container_names,
        kinds=["container", *[""] * 3, "container", *[""] * 10],
        awaited=[0] * 13 + [1, 0],
        pods={
            "pod_uid": ["b1946ac9-2c1f", "d41d"],
            "pod_name": ["web-6d4b-x2v9q", ""],
            "namespace": ["shop", ""],
            "owner_kind": ["Deployment", ""],
            "owner_name": ["web", ""],
            "qos_class": ["Burstable", ""],
            "is_awaited": U8([0, 1]),
        },
        pod_labels=[
            ("b1946ac9-2c1f", "app.kubernetes.io/name", 'w"eb'),
            ("b1946ac9-2c1f", "team", "a"),
        ],
        machines={
            "vm_id": ["machine-qemu-1-web"],
            "vm_name": ["web"],
            "uuid": ["c7a5fdbd-edaf-9455-926a-d65c16db1809"],
            "hypervisor": ["qemu"],
        },
        units=units,
        doubt=doubt,
        activity_skew_ns=21_000,
        absent=[
            ("rapl-sysfs", "dram", "1", "unreadable", 'energy_uj: "Input/output error"'),
            ("rapl-sysfs", "", "intel-rapl:4", "unreadable", "name: Permission denied"),
            (
                "rapl-sysfs",
                "package",
                "1-die-1",
                "mirror",
                "shows the counter of package 1, which is counted",
            ),
        ],
    )


_amounts = st.one_of(st.integers(0, 3_000_000), st.integers(0, 2**55))
_names = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))


@st.composite
def closed_books(draw):
    """Energy frames of any size and with any names whose books close."""
    zones = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ZONE_NAMES),
                st.sampled_from(["0", "1"]),
                st.sampled_from(["rapl-sysfs", 'r"\\']),
            ),
            max_size=6,
            unique=True,
        )
    )
    columns = st.lists(_amounts, min_size=len(zones), max_size=len(zones))
    idle_policy = draw(st.sampled_from(["node", "even", "usage", "requests"]))
    # What another policy gave out earlier stays in the totals
    idle = columns if idle_policy != "node" or draw(st.booleans()) else st.just([0] * len(zones))
    ids = st.one_of(
        st.sampled_from(["system_processes", "kernel_processes", "unknown_processes", "3f2a", "terminated"]),
        _names,
    )
    pods = st.one_of(st.sampled_from(["", "b1946ac9", "e5f6"]), _names)
    containers = draw(st.lists(st.tuples(ids, pods, _names, _amounts, columns, idle), max_size=5))
    vms = st.one_of(st.sampled_from(["", "machine-qemu-1-a", "machine-qemu-2-b"]), _names)
    vm_ids = draw(st.just([]) | st.lists(vms, min_size=len(containers), max_size=len(containers)))
    unit_names = st.one_of(st.sampled_from(["", "cron.service", "unmatched"]), _names)
    units = draw(st.just([]) | st.lists(unit_names, min_size=len(containers), max_size=len(containers)))
    flags = st.lists(st.integers(0, 1), min_size=len(containers), max_size=len(containers))
    pod_rows = draw(st.lists(st.tuples(pods, _names, _names, st.integers(0, 1)), max_size=4))
    label_rows = st.lists(st.tuples(pods, st.sampled_from(["a.b", "a/b", "aB", "a_b", "ü", ""]), _names))
    processes = []
    if containers:
        rows = st.integers(0, len(containers) - 1)
        # Few pids and starts, so that pids are used again
        process = st.tuples(rows, st.integers(1, 3), st.integers(0, 2), _names, _amounts, columns, idle)
        processes = draw(st.lists(process, max_size=8))
    unattributed = []
    if zones:
        lost = st.tuples(
            st.integers(0, len(zones) - 1),
            st.sampled_from(["dynamic", "idle"]),
            st.sampled_from(["idle_policy", "probe_gap"]),
            _amounts,
        )
        unattributed = draw(st.lists(lost, max_size=6))
    words = st.lists(_names, min_size=len(zones), max_size=len(zones))
    amounts = st.lists(_amounts, min_size=len(zones), max_size=len(zones)).map(U64)
    doubt = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "share_by": words,
                "idle_method": words,
                "idle_doubt_uw": amounts,
                "interpolation_uj": amounts,
                "join_skew_ns": amounts,
                "disagreement_uj": amounts,
            },
        )
    )
    return books(
        zones,
        containers,
        processes,
        unattributed,
        idle_policy=idle_policy,
        vm_ids=vm_ids,
        units=units,
        doubt=doubt,
        activity_skew_ns=draw(st.sampled_from([0, 21_000])),
        awaited=draw(st.just([]) | flags),
        pods={
            "pod_uid": [row[0] for row in pod_rows],
            "pod_name": [row[1] for row in pod_rows],
            "namespace": [row[2] for row in pod_rows],
            "is_awaited": U8(row[3] for row in pod_rows),
        },
        pod_labels=draw(label_rows),
    )
