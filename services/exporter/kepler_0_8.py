# SPDX-License-Identifier: Apache-2.0
"""The books under the names and labels of Kepler v0.8, so that its dashboards work unchanged. Pure.

Kepler emits every series as a counter and every label even if it is empty; so does this.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wattline.wire.frames import Energy, EnergyContainers, EnergyProcesses, EnergyZones

from .exposition import Block, Family, Rows, escape, label_text
from .workloads import TERMINATED, container_names, pod_names, rows_by_vm, shown_containers, vm_ids
from .zones import COMPONENT_ZONES, KEPLER_ZONES, SUMMED_ZONES, rows_by_zone, workload_modes

_JOULE_DECIMALS = 6  # from µJ
_MS_DECIMALS = 6  # from ns
_CPU_TIME_SOURCE = 'source="bpf"'
# What isn't in a container has a workload of its own, which stands in all three names: its namespace.
_SPECIAL_NAMESPACES = {
    "system_processes": "system",
    "kernel_processes": "kernel",
    "unknown_processes": "unknown",
    # Not Kepler's: what ended containers used. Without it the sum of containers would fall behind the node's.
    TERMINATED: "terminated",
}
_LEVELS = {"container": "container", "process": "process", "vm": "virtual machine"}


@dataclass(frozen=True, slots=True)
class _Level:
    """Workloads of one kind: their name within a family's, and which rows of which table they are."""

    name: str
    rows: Rows
    table: EnergyContainers | EnergyProcesses
    modes: Sequence[str]


def families(energy: Energy, architecture: str) -> Iterator[Family]:
    """All of Kepler's families that this frame has something for, node first.

    `architecture`: of the processor, as uname has it.
    """
    yield from _node_families(energy, architecture)
    modes = workload_modes(energy)
    containers, processes = energy.containers, energy.processes
    levels = (
        _Level("container", Rows(container_labels(energy), shown_containers(energy)), containers, modes),
        _Level("process", Rows(process_labels(energy)), processes, modes),
        _Level("vm", rows_by_vm(containers), containers, modes),
    )
    for level in levels:
        yield from _zone_families(level, energy.zones)
        if level.name != "vm":  # Kepler has no sum over the zones of a virtual machine
            yield _sum_family(level, energy.zones)
        yield _cpu_time_family(level)


def build_info(version: str, architecture: str) -> Family:
    """Kepler's build series; what it says is Wattline's build."""
    labels = {"branch": "", "revision": "", "version": version, "os": "linux", "arch": architecture}
    return Family(
        "kepler_exporter_build_info",
        "gauge",
        "1; its labels say which build of Wattline serves Kepler's names.",
        [Block([label_text(labels)], [1])],
    )


def container_labels(energy: Energy) -> list[str]:
    """Kepler's labels of each container's row. Names are empty where nothing tells them."""
    containers, pods = energy.containers, pod_names(energy)
    return [
        label_text(_container(container_id, name, *pods.get(pod_uid, ("", ""))))
        for container_id, name, pod_uid in zip(
            containers.container_id, container_names(containers), containers.pod_uid, strict=True
        )
    ]


def _container(container_id: str, name: str, pod_name: str, namespace: str) -> Mapping[str, str]:
    if special := _SPECIAL_NAMESPACES.get(container_id):
        pod_name, name, namespace = container_id, container_id, special
    return {
        "container_id": container_id,
        "pod_name": pod_name,
        "container_name": name,
        "container_namespace": namespace,
    }


def process_labels(energy: Energy) -> list[str]:
    """Kepler's labels of each process row; its container's row tells the virtual machine."""
    processes, containers = energy.processes, energy.containers
    middles = [
        f'container_id="{escape(container_id)}",vm_id="{escape(vm_id)}",command="'
        for container_id, vm_id in zip(containers.container_id, vm_ids(containers), strict=True)
    ]
    commands = {comm: escape(comm) for comm in set(processes.comm)}
    return [
        f'pid="{pid}",{middles[row]}{commands[comm]}"'
        for pid, row, comm in zip(processes.pid, processes.container_row, processes.comm, strict=True)
    ]


def _node_families(energy: Energy, architecture: str) -> Iterator[Family]:
    zones = energy.zones
    for zone, meaning in KEPLER_ZONES.items():
        labels = []
        values = []
        for row in (row for rows in rows_by_zone(zones, zone).values() for row in rows):
            idle_uj = zones.idle_uj[row]
            for mode, energy_uj in (("dynamic", zones.measured_uj[row] - idle_uj), ("idle", idle_uj)):
                labels.append(_node_labels(energy.node, zones, row, mode))
                values.append(energy_uj)
        yield Family(
            f"kepler_node_{zone}_joules_total",
            "counter",
            f"Energy in joules that the node used in zone {zone} ({meaning}).",
            [Rows(labels).block([values])],
            _JOULE_DECIMALS,
        )
    node_info = {
        "cpu_architecture": architecture,
        "components_power_source": _newest_source(zones, COMPONENT_ZONES),
        "platform_power_source": _newest_source(zones, ("platform",)),
        "source": "os",
    }
    yield Family(
        "kepler_node_info",
        "counter",
        "1; its labels say what the node is and where its energy figures come from.",
        [Block([label_text(node_info)], [1])],
    )


def _node_labels(node: str, zones: EnergyZones, row: int, mode: str) -> str:
    return label_text(
        {"package": zones.index[row], "instance": node, "mode": mode, "source": zones.source[row]}
    )


def _newest_source(zones: EnergyZones, names: Sequence[str]) -> str:
    """The source that went on longest in these zones; as in Kepler, "none" if there is none."""
    rows = [row for row, zone in enumerate(zones.zone) if zone in names]
    newest = max(rows, key=zones.watermark_mono_ns.__getitem__, default=None)
    return "none" if newest is None else zones.source[newest]


def _zone_families(level: _Level, zones: EnergyZones) -> Iterator[Family]:
    for zone, meaning in KEPLER_ZONES.items():
        yield Family(
            f"kepler_{level.name}_{zone}_joules_total",
            "counter",
            f"Energy in joules attributed to the {_LEVELS[level.name]} in zone {zone} ({meaning}).",
            _joule_blocks(level, rows_by_zone(zones, zone)),
            _JOULE_DECIMALS,
        )


def _sum_family(level: _Level, zones: EnergyZones) -> Family:
    summed = [row for row, zone in enumerate(zones.zone) if zone in SUMMED_ZONES]
    return Family(
        f"kepler_{level.name}_joules_total",
        "counter",
        f"Energy in joules attributed to the {_LEVELS[level.name]} in all of {', '.join(SUMMED_ZONES)} "
        "that there is.",
        _joule_blocks(level, {"": summed} if summed else {}),
        _JOULE_DECIMALS,
    )


def _cpu_time_family(level: _Level) -> Family:
    return Family(
        f"kepler_{level.name}_bpf_cpu_time_ms_total",
        "counter",
        f"CPU time of the {_LEVELS[level.name]} in milliseconds.",
        [level.rows.block([level.table.cpu_ns], _CPU_TIME_SOURCE)],
        _MS_DECIMALS,
    )


def _joule_blocks(level: _Level, sources: Mapping[str, list[int]]) -> list[Block]:
    """A block for each source and mode. `sources`: which zones of the frame each source is the sum of."""
    columns_of = {"dynamic": level.table.dynamic_uj, "idle": level.table.idle_uj}
    return [
        level.rows.block(
            [columns_of[mode][zone] for zone in zones], label_text({"mode": mode, "source": source})
        )
        for source, zones in sources.items()
        for mode in level.modes
    ]
