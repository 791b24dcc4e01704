# SPDX-License-Identifier: Apache-2.0
"""Which zones Kepler knows, and which rows of a frame's zones belong together. Pure."""

from wattline.wire.frames import Energy, EnergyZones

# What Kepler v0.8 has a name for. `psys` and whatever else a meter calls a zone has only Wattline's names.
KEPLER_ZONES = {
    "package": "processor packages, which include their cores and uncore",
    "core": "processor cores, a part of package",
    "uncore": "parts of the processor that all its cores use, a part of package",
    "dram": "memory",
    "other": "what the platform used besides package, dram and gpu",
    "gpu": "graphics processors",
    "platform": "the whole machine, which includes all other zones",
}
# What adds up without counting anything twice: core and uncore are in package, everything is in platform.
SUMMED_ZONES = ("package", "dram", "other", "gpu")
COMPONENT_ZONES = ("package", "core", "uncore", "dram")


def rows_by_zone(zones: EnergyZones, zone: str) -> dict[str, list[int]]:
    """The rows of one zone by source: sockets or devices that one source measured are one series."""
    found: dict[str, list[int]] = {}
    for row, (name, source) in enumerate(zip(zones.zone, zones.source, strict=True)):
        if name == zone:
            found.setdefault(source, []).append(row)
    return found


def zone_labels(zones: EnergyZones) -> list[dict[str, str]]:
    """What all of Wattline's series of a zone are labelled with, by row."""
    return [
        {"zone": zone, "index": index, "source": source}
        for zone, index, source in zip(zones.zone, zones.index, zones.source, strict=True)
    ]


def workload_modes(energy: Energy) -> tuple[str, ...]:
    """The modes that workloads have series for.

    Under the policy `node` idle energy goes to nobody. But what an earlier policy gave them stays in the
    totals, and without it the series would not add up to the node's.
    """
    if energy.idle_policy != "node" or any(any(column) for column in energy.containers.idle_uj):
        return ("dynamic", "idle")
    return ("dynamic",)
