# SPDX-License-Identifier: Apache-2.0
"""The books as the tables of an energy frame. Pure; formula 8 in docs/attribution.md."""

from typing import Any

import numpy as np

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    ZONES_MAX,
    EnergyContainers,
    EnergyProcesses,
    EnergySpares,
    EnergyUnattributed,
    EnergyZones,
)
from wattline.wire.table import if_any

from .accounts import Accounts
from .columns import Ints, u32, u64
from .energy_names import container_columns, identity_tables
from .rules import Rules
from .state import State
from .zone import Zone
from .zones import OTHER, Zones


def energy_tables(state: State, rules: Rules) -> dict[str, Any]:
    """The tables by field name."""
    accounts, workloads, rows = state.accounts, state.workloads, state.rows
    listed = sorted(workloads.by_identity.values(), key=lambda one: one.number)
    container_row = np.zeros(len(workloads.by_number), np.int64)
    container_row[[one.number for one in listed]] = np.arange(len(listed))
    processes = rows.accounts()
    owners = container_row[rows.workload[processes]]
    own = np.array([one.account for one in listed], np.int64)

    def with_members(totals: Ints) -> U64:
        summed = totals[own]
        np.add.at(summed, owners, totals[processes])
        return u64(summed)

    return {
        "zones": _zones(state.zones, rules),
        "spares": _spares(state.zones),
        "unattributed": unattributed_table(accounts),
        "containers": EnergyContainers(
            container_id=[one.container_id for one in listed],
            pod_uid=[one.pod_uid for one in listed],
            runtime=[one.runtime for one in listed],
            vm_id=if_any(one.vm_id for one in listed),
            unit=if_any(one.unit for one in listed),
            **container_columns(state.fixed_names, listed),
            cpu_ns=with_members(accounts.cpu_ns),
            departed_cpu_ns=u64(accounts.cpu_ns[own]),
            dynamic_uj=[with_members(totals) for totals in accounts.dynamic_uj],
            idle_uj=[with_members(totals) for totals in accounts.idle_uj],
            departed_dynamic_uj=[u64(totals[own]) for totals in accounts.dynamic_uj],
            departed_idle_uj=[u64(totals[own]) for totals in accounts.idle_uj],
        ),
        **identity_tables(state.fixed_names),
        "processes": EnergyProcesses(
            container_row=u32(owners),
            cgroup_id=u64(rows.cgroup_id[processes]),
            pid=u32(rows.pid[processes]),
            start_ticks=u64(rows.start_ticks[processes]),
            comm=rows.comm[processes].tolist(),
            cpu_ns=u64(accounts.cpu_ns[processes]),
            dynamic_uj=[u64(totals[processes]) for totals in accounts.dynamic_uj],
            idle_uj=[u64(totals[processes]) for totals in accounts.idle_uj],
        ),
    }


def _zones(zones: Zones, rules: Rules) -> EnergyZones:
    rows = list(zones.zones.values())
    owners = {owner.name: owner for owner in zones.slots.owners()}
    other = zones.other()
    # A zone's owner may be another stream of the same source, whose readings are counted from soon on.
    known = [owners.get(zone.name) or zones.slots.find(zone.name, zone.stream) for zone in rows]
    idle = [zone.idle(rules) for zone in rows]
    return EnergyZones(
        zone=[zone.name[0] for zone in rows],
        index=[zone.name[1] for zone in rows],
        source=[zone.name[2] for zone in rows],
        provenance=[zone.provenance for zone in rows],
        model=[zone.model for zone in rows],
        error_ratio_ppm=U32(zone.error_ratio_ppm for zone in rows),
        watermark_mono_ns=U64(zone.meter.watermark_ns for zone in rows),
        measured_uj=U64(zone.measured_uj for zone in rows),
        idle_uj=U64(zone.idle_uj for zone in rows),
        idle_power_uw=U64(estimate.power_uw for estimate in idle),
        gaps=U32(min(zone.gaps.total + zone.meter.gaps, 2**32 - 1) for zone in rows),
        share_by=[zone.share_by for zone in rows],
        model_error_ratio_ppm=U32(_ppm(zone.power_model.error_ratio) for zone in rows),
        idle_method=[estimate.method for estimate in idle],
        idle_doubt_uw=U64(estimate.doubt_uw for estimate in idle),
        interpolation_uj=U64(zone.meter.interpolation_uj for zone in rows),
        join_skew_ns=U64(zone.meter.join_skew_ns for zone in rows),
        disagreement_uj=U64(_disagreement_uj(zones, zone) for zone in rows),
        is_listed=U8(zone.missed == 0 for zone in rows),
        reading_interval_ns=U64(zone.reading_interval_ns for zone in rows),
        is_owner=U8(zone.name in owners or (zone is other and not zone.stream) for zone in rows),
        stream=[
            one.stream if one is not None else zone.stream for one, zone in zip(known, rows, strict=True)
        ],
        rank=U32(one.row.rank if one is not None else 0 for one in known),
        takeovers=U32(min(zone.takeovers, 2**32 - 1) for zone in rows),
        integration_uj=U64(min(zone.integration.total, 2**63) for zone in rows),
    )


def _spares(zones: Zones) -> EnergySpares:
    """Spares that are not away, the best first; as many as a frame may have."""
    spares = [one for one in zones.slots.spares() if not zones.slots.is_away(one)][:ZONES_MAX]
    return EnergySpares(
        zone=[one.name[0] for one in spares],
        index=[one.name[1] for one in spares],
        source=[one.name[2] for one in spares],
        stream=[one.stream for one in spares],
        rank=U32(one.row.rank for one in spares),
    )


def _disagreement_uj(zones: Zones, zone: Zone) -> int:
    partition = zones.partition
    is_other = zone.name == (OTHER, partition.index, partition.source)
    return partition.disagreement_uj if is_other else 0


def _ppm(ratio: float) -> int:
    return min(round(ratio * 1e6), 2**32 - 1)


def unattributed_table(accounts: Accounts) -> EnergyUnattributed:
    """Energy that no workload was given, in a stable order."""
    entries = sorted(accounts.unattributed_uj.items())
    return EnergyUnattributed(
        zone_row=U32(zone for (zone, _mode, _reason), _uj in entries),
        mode=[mode for (_zone, mode, _reason), _uj in entries],
        reason=[reason for (_zone, _mode, reason), _uj in entries],
        energy_uj=U64(energy_uj for _entry, energy_uj in entries),
    )
