# SPDX-License-Identifier: Apache-2.0
"""The books under the names and labels of Kepler v0.8, so that its dashboards work unchanged. Pure.

Kepler emits every series as a counter and every label even if it is empty; so does this.
"""

from collections.abc import Iterator, Mapping, Sequence

from wattline.wire.frames import Energy, EnergyContainers, EnergyProcesses, EnergyZones

from .exposition import Block, Family, Rows, escape, label_text
from .zones import COMPONENT_ZONES, KEPLER_ZONES, SUMMED_ZONES, rows_by_zone, workload_modes

_JOULE_DECIMALS = 6  # from µJ
_MS_DECIMALS = 6  # from ns
_CPU_TIME_SOURCE = 'source="bpf"'
# What isn't in a container has a workload of its own, which stands in all three names: its namespace.
_SPECIAL_NAMESPACES = {
    "system_processes": "system",
    "kernel_processes": "kernel",
    "unknown_processes": "unknown",
}


def families(energy: Energy, architecture: str) -> Iterator[Family]:
    """All of Kepler's families that this frame has something for, node first.

    `architecture`: of the processor, as uname has it.
    """
    yield from _node_families(energy, architecture)
    containers = Rows(container_labels(energy.containers))
    yield from _workload_families("container", energy, containers, energy.containers)
    processes = Rows(process_labels(energy))
    yield from _workload_families("process", energy, processes, energy.processes)


def build_info(version: str, architecture: str) -> Family:
    """Kepler's build series; what it says is Wattline's build."""
    labels = {"branch": "", "revision": "", "version": version, "os": "linux", "arch": architecture}
    return Family(
        "kepler_exporter_build_info",
        "gauge",
        "1; its labels say which build of Wattline serves Kepler's names.",
        [Block([label_text(labels)], [1])],
    )


def container_labels(containers: EnergyContainers) -> list[str]:
    """Kepler's labels of each container. Names in pods are empty where there is no Kubernetes."""
    return [label_text(_container(container_id)) for container_id in containers.container_id]


def _container(container_id: str) -> Mapping[str, str]:
    namespace = _SPECIAL_NAMESPACES.get(container_id, "")
    name = container_id if namespace else ""
    return {
        "container_id": container_id,
        "pod_name": name,
        "container_name": name,
        "container_namespace": namespace,
    }


def process_labels(energy: Energy) -> list[str]:
    """Kepler's labels of each process row."""
    processes = energy.processes
    middles = [
        f'container_id="{escape(container_id)}",vm_id="",command="'
        for container_id in energy.containers.container_id
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


def _workload_families(
    level: str, energy: Energy, rows: Rows, table: EnergyContainers | EnergyProcesses
) -> Iterator[Family]:
    """Joules of each zone, their sum, and CPU time, for the containers or for the processes."""
    columns_of = {"dynamic": table.dynamic_uj, "idle": table.idle_uj}
    modes = workload_modes(energy)

    def blocks(sources: Mapping[str, list[int]]) -> list[Block]:
        return [
            rows.block(
                [columns_of[mode][row] for row in zone_rows], label_text({"mode": mode, "source": source})
            )
            for source, zone_rows in sources.items()
            for mode in modes
        ]

    for zone, meaning in KEPLER_ZONES.items():
        yield Family(
            f"kepler_{level}_{zone}_joules_total",
            "counter",
            f"Energy in joules attributed to the {level} in zone {zone} ({meaning}).",
            blocks(rows_by_zone(energy.zones, zone)),
            _JOULE_DECIMALS,
        )
    summed = [row for row, zone in enumerate(energy.zones.zone) if zone in SUMMED_ZONES]
    yield Family(
        f"kepler_{level}_joules_total",
        "counter",
        f"Energy in joules attributed to the {level} in all of {', '.join(SUMMED_ZONES)} that there is.",
        blocks({"": summed} if summed else {}),
        _JOULE_DECIMALS,
    )
    yield Family(
        f"kepler_{level}_bpf_cpu_time_ms_total",
        "counter",
        f"CPU time of the {level} in milliseconds.",
        [rows.block([table.cpu_ns], _CPU_TIME_SOURCE)],
        _MS_DECIMALS,
    )
