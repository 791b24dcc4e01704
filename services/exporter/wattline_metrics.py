# SPDX-License-Identifier: Apache-2.0
"""The books under Wattline's own names: what Kepler has no name for and the sums need. Pure."""

from collections.abc import Iterator, Sequence

from wattline.wire.frames import Energy

from . import awaiting, doubt, identities, slots
from .exposition import Block, Family, Rows, label_text
from .gauges import gauge, info, known
from .workloads import rows_by_pod, rows_by_unit, rows_unmatched
from .zones import KEPLER_ZONES, rows_by_zone, workload_modes, zone_labels

_JOULE_DECIMALS = 6  # from µJ
_WATT_DECIMALS = 6  # from µW
_RATIO_DECIMALS = 6  # from parts per million
_SECOND_DECIMALS = 9  # from ns


def families(energy: Energy) -> Iterator[Family]:
    """All own families that this frame has something for."""
    yield from _zone_counters(energy)
    yield from _zone_gauges(energy)
    yield _absent_zones(energy)
    yield from doubt.families(energy)
    yield from slots.families(energy)
    modes = workload_modes(energy)
    yield from identities.families(energy)
    yield from awaiting.families(energy, modes)
    yield from _container_families(energy, modes)
    yield _pod_family(energy, modes)
    if energy.containers.unit:
        yield from _unit_families(energy, modes)


def _zone_counters(energy: Energy) -> Iterator[Family]:
    zones = energy.zones
    series = Rows([label_text(labels) for labels in zone_labels(zones)])
    dynamic_uj = [measured - idle for measured, idle in zip(zones.measured_uj, zones.idle_uj, strict=True)]
    yield Family(
        "wattline_zone_joules_total",
        "counter",
        "Energy in joules that the zone used; both modes together are what its source said. Zones overlap.",
        [
            series.block([values], label_text({"mode": mode}))
            for mode, values in (("dynamic", dynamic_uj), ("idle", zones.idle_uj))
        ],
        _JOULE_DECIMALS,
    )
    lost = energy.unattributed
    labels = [
        label_text({"zone": zones.zone[row], "mode": mode, "reason": reason})
        for row, mode, reason in zip(lost.zone_row, lost.mode, lost.reason, strict=True)
    ]
    yield Family(
        "wattline_unattributed_joules_total",
        "counter",
        "Energy in joules that the zone used and no container was given, by reason.",
        [Rows(labels).block([lost.energy_uj])],
        _JOULE_DECIMALS,
    )
    yield Family(
        "wattline_zone_gaps_total",
        "counter",
        "Stretches of time for which no reading tells how much energy the zone used.",
        [series.block([zones.gaps])],
    )


def _zone_gauges(energy: Energy) -> Iterator[Family]:
    zones = energy.zones
    labels = zone_labels(zones)
    yield info(
        "wattline_zone_info",
        "its labels say whether the zone's energy is measured or estimated, and by which model.",
        [
            label_text({**zone, "provenance": provenance, "model": model})
            for zone, provenance, model in zip(labels, zones.provenance, zones.model, strict=True)
        ],
    )
    series = [label_text(zone) for zone in labels]
    monotonic_to_unix_ns = energy.unix_ns - energy.mono_ns
    yield gauge(
        "wattline_zone_watermark_timestamp_seconds",
        "Unix time in seconds up to which the zone's energy is attributed.",
        series,
        [watermark + monotonic_to_unix_ns for watermark in zones.watermark_mono_ns],
        _SECOND_DECIMALS,
    )
    yield gauge(
        "wattline_zone_idle_watts",
        "Power in watts that the zone is taken to draw when nothing runs; absent while not known.",
        *known(series, zones.idle_power_uw),
        _WATT_DECIMALS,
    )
    yield gauge(
        "wattline_zone_error_ratio",
        "Known error of an estimated zone as a ratio of its energy; absent if not known.",
        *known(series, zones.error_ratio_ppm),
        _RATIO_DECIMALS,
    )


def _absent_zones(energy: Energy) -> Family:
    absent = energy.absent
    return info(
        "wattline_zone_absent",
        "its labels name a zone that has no energy although its meter is there, and say why: unreadable, or "
        "the mirror of a zone that is counted.",
        [
            label_text({"zone": zone, "index": index, "source": source, "why": why, "reason": reason})
            for zone, index, source, why, reason in zip(
                absent.zone, absent.index, absent.source, absent.why, absent.reason, strict=True
            )
        ],
    )


def _container_families(energy: Energy, modes: Sequence[str]) -> Iterator[Family]:
    containers = energy.containers
    rows = Rows([label_text({"container_id": container_id}) for container_id in containers.container_id])
    columns_of = {"dynamic": containers.departed_dynamic_uj, "idle": containers.departed_idle_uj}
    zones = {zone: rows_by_zone(energy.zones, zone) for zone in KEPLER_ZONES}
    yield Family(
        "wattline_container_departed_joules_total",
        "counter",
        "Energy in joules of the container's processes that have no series any more; with those of its "
        "processes that have one it makes up the container's.",
        [
            rows.block(
                [columns_of[mode][row] for source_rows in sources.values() for row in source_rows],
                label_text({"zone": zone, "mode": mode}),
            )
            for zone, sources in zones.items()
            if sources
            for mode in modes
        ],
        _JOULE_DECIMALS,
    )
    yield Family(
        "wattline_container_departed_cpu_seconds_total",
        "counter",
        "CPU time in seconds of the container's processes that have no series any more.",
        [rows.block([containers.departed_cpu_ns])],
        _SECOND_DECIMALS,
    )


def _pod_family(energy: Energy, modes: Sequence[str]) -> Family:
    return Family(
        "wattline_pod_joules_total",
        "counter",
        "Energy in joules attributed to the pod, with that of its containers that have ended.",
        _zone_blocks(energy, modes, rows_by_pod(energy)),
        _JOULE_DECIMALS,
    )


def _unit_families(energy: Energy, modes: Sequence[str]) -> Iterator[Family]:
    containers = energy.containers
    rows = rows_by_unit(containers)
    yield Family(
        "wattline_unit_joules_total",
        "counter",
        "Energy in joules attributed to host processes, by systemd unit; together they are system_processes.",
        _zone_blocks(energy, modes, rows),
        _JOULE_DECIMALS,
    )
    yield Family(
        "wattline_unit_cpu_seconds_total",
        "counter",
        "CPU time in seconds of host processes, by systemd unit; together they are system_processes.",
        [rows.block([containers.cpu_ns])],
        _SECOND_DECIMALS,
    )
    # The row stays in the books once there is one; until then nothing was unmatched.
    unmatched = rows_unmatched(containers).block([containers.cpu_ns])
    yield Family(
        "wattline_unmatched_cgroups_cpu_seconds_total",
        "counter",
        "CPU time in seconds of cgroups that are no known container, machine or unit; metadata logs them.",
        [unmatched if unmatched.labels else Block([""], [0])],
        _SECOND_DECIMALS,
    )


def _zone_blocks(energy: Energy, modes: Sequence[str], rows: Rows) -> list[Block]:
    """A block for each of Kepler's zones, source and mode."""
    containers = energy.containers
    columns_of = {"dynamic": containers.dynamic_uj, "idle": containers.idle_uj}
    return [
        rows.block(
            [columns_of[mode][row] for row in zone_rows],
            label_text({"zone": zone, "mode": mode, "source": source}),
        )
        for zone in KEPLER_ZONES
        for source, zone_rows in rows_by_zone(energy.zones, zone).items()
        for mode in modes
    ]
