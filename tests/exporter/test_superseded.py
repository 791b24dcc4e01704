# SPDX-License-Identifier: Apache-2.0
"""Pids that are used again by the same name."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from services.exporter.superseded import fold_superseded, superseded_rows
from wattline.wire.columns import U64

from .frames import books, closed_books
from .readback import scraped, total

ZONE = [("package", "0", "rapl-sysfs")]
PROCESS = "kepler_process_package_joules_total"
DEPARTED = "wattline_container_departed_joules_total"


def frame(departed_uj, *processes):
    rows = [(0, 7, start, "sh", 1, [energy_uj], [0]) for start, energy_uj in processes]
    return books(ZONE, [("c", "", "", 0, [departed_uj], [0])], rows, [])


def test_series_begins_again_with_the_younger_process():
    """When a pid is taken over, its series is the younger process's, be the older row there or not."""
    before = scraped(frame(1, (100, 1000)))
    both = scraped(frame(1, (100, 1000), (200, 30)))
    after = scraped(frame(1001, (200, 40)))
    assert [total(series, PROCESS) for series in (before, both, after)] == [
        Decimal("0.001000"),
        Decimal("0.000030"),
        Decimal("0.000040"),
    ]
    assert [total(series, DEPARTED) for series in (before, both, after)] == [
        Decimal("0.000001"),
        Decimal("0.001001"),
        Decimal("0.001001"),
    ]


def test_one_process_in_two_cgroups_is_one_series():
    """Rows of one process, whose start may differ by a tick, are added up: nobody has superseded it."""
    assert total(scraped(frame(0, (100, 1000), (101, 30))), PROCESS) == Decimal("0.001030")


def test_other_names_and_containers_supersede_nobody():
    """Equal pids with another name or in another container have other labels, and stay."""
    rows = [(0, 7, 1, "sh", 1, [1], [0]), (0, 7, 50, "bash", 1, [1], [0]), (1, 7, 99, "sh", 1, [1], [0])]
    two = [("c", "", "", 0, [0], [0]), ("d", "", "", 0, [0], [0])]
    assert superseded_rows(books(ZONE, two, rows, [])) == set()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_folding_moves_and_loses_nothing(energy):
    """Folding changes no container's total, and folded books have nobody left to fold."""
    folded = fold_superseded(energy)
    assert superseded_rows(folded) == set()
    assert folded.containers.dynamic_uj == energy.containers.dynamic_uj
    for zone in range(len(energy.zones)):
        for one in (energy, folded):
            listed = sum(one.processes.dynamic_uj[zone]) + sum(one.containers.departed_dynamic_uj[zone])
            assert listed == sum(energy.containers.dynamic_uj[zone])


@pytest.mark.parametrize("largest", [2**63, 2**64 - 1])
def test_the_largest_numbers_are_shown(largest):
    """Sums over rows are made in numbers without an end."""
    rows = [(0, pid, 1, "sh", 1, [1], [1]) for pid in (7, 8)]
    energy = books(ZONE, [("c", "p", "", 0, [0], [0])], rows, [(0, "dynamic", "no_activity", 1)])
    for table in (energy.zones, energy.unattributed, energy.containers, energy.processes):
        for name in table.__struct_fields__:
            for column in getattr(table, name) if name in table.column_lists else [getattr(table, name)]:
                if isinstance(column, U64) and name not in ("watermark_mono_ns", "start_ticks", "cgroup_id"):
                    column[:] = U64([largest] * len(column))
    assert total(scraped(energy), PROCESS) == Decimal(4 * largest) / 1_000_000
