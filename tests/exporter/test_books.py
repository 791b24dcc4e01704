# SPDX-License-Identifier: Apache-2.0
"""The books as a reader of the text finds them."""

from decimal import Decimal

import msgspec
from hypothesis import HealthCheck, given, settings

from services.exporter.zones import KEPLER_ZONES
from wattline.wire.columns import U8
from wattline.wire.identities import no_pods

from .frames import books, closed_books, small
from .readback import scraped, total


def without_awaited(containers):
    """The same with series for all of them."""
    return msgspec.structs.replace(containers, is_awaited=U8())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_zones_close_in_the_text(energy):
    """Per zone: the node's = Σ containers + unattributed + awaiting a name, to the µJ, in the text itself."""
    series = scraped(energy)
    for zone in KEPLER_ZONES:
        node = total(series, f"kepler_node_{zone}_joules_total")
        containers = total(series, f"kepler_container_{zone}_joules_total")
        awaiting = total(series, "wattline_awaiting_names_joules", zone=zone, level="container")
        left = total(series, "wattline_unattributed_joules_total", zone=zone)
        assert node == containers + left + awaiting
        assert node == total(series, "wattline_zone_joules_total", zone=zone)
        rows = [row for row, name in enumerate(energy.zones.zone) if name == zone]
        assert node == Decimal(sum(energy.zones.measured_uj[row] for row in rows)).scaleb(-6)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_containers_close_in_the_text(energy):
    """Per container and zone: its processes + its departed ones = its total; the same for CPU time."""
    containers = energy.containers
    series = scraped(msgspec.structs.replace(energy, containers=without_awaited(containers), pods=no_pods()))
    for container_id in set(containers.container_id):
        for zone in KEPLER_ZONES:
            departed = total(
                series, "wattline_container_departed_joules_total", container_id=container_id, zone=zone
            )
            processes = total(series, f"kepler_process_{zone}_joules_total", container_id=container_id)
            container = total(series, f"kepler_container_{zone}_joules_total", container_id=container_id)
            assert processes + departed == container
        departed_s = total(series, "wattline_container_departed_cpu_seconds_total", container_id=container_id)
        processes_ms = total(series, "kepler_process_bpf_cpu_time_ms_total", container_id=container_id)
        container_ms = total(series, "kepler_container_bpf_cpu_time_ms_total", container_id=container_id)
        assert processes_ms + departed_s * 1000 == container_ms


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_sum_counts_nothing_twice(energy):
    """The series without a zone is package + dram + other + gpu, and leaves out what is inside these."""
    series = scraped(energy)
    for level in ("container", "process"):
        parts = (
            total(series, f"kepler_{level}_{zone}_joules_total")
            for zone in ("package", "dram", "other", "gpu")
        )
        assert total(series, f"kepler_{level}_joules_total") == sum(parts)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_no_series_twice(energy):
    """No two series have the same name and labels, an empty label being none: Prometheus refuses them."""
    series = [(one.name, frozenset(one.labels.items())) for one in scraped(energy)]
    assert len(set(series)) == len(series)


def test_absent_zones_have_no_series():
    """A zone that no source measures has no series at all, rather than zeros."""
    names = {one.name for one in scraped(small())}
    assert "kepler_node_dram_joules_total" in names
    assert not {name for name in names if "core" in name}


def test_psys_has_only_our_own_names():
    """What Kepler has no name for is in Wattline's own series only."""
    named_so = {
        one.name for one in scraped(small()) if "psys" in (*one.labels.values(), *one.name.split("_"))
    }
    assert named_so
    assert all(name.startswith("wattline_zone_") for name in named_so)


def test_two_sources_of_a_zone_stay_apart():
    """A zone whose source changed is two series that tell by `source`, and the sum has both."""
    series = scraped(
        books(
            [("package", "0", "rapl-sysfs"), ("package", "0", "estimator")],
            [("c", "", "", 0, [1, 2], [0, 0])],
            [(0, 1, 1, "a", 5, [10, 20], [0, 0])],
            [],
        )
    )
    name = "kepler_container_package_joules_total"
    assert total(series, name, source="rapl-sysfs") == Decimal("0.000011")
    assert total(series, name, source="estimator") == Decimal("0.000022")
    assert total(series, "kepler_container_joules_total") == Decimal("0.000033")


def test_idle_mode_follows_the_policy():
    """Under the policy `node` workloads have no idle series, unless an earlier policy gave them some."""

    def idle_series(policy, idle_uj):
        one = books(
            [("package", "0", "rapl-sysfs")],
            [("c", "", "", 0, [0], [0])],
            [(0, 1, 1, "a", 5, [10], [idle_uj])],
            [(0, "idle", "idle_policy", 7)],
            idle_policy=policy,
        )
        return {
            series.name
            for series in scraped(one)
            if series.labels.get("mode") == "idle"
            and not series.name.startswith(("kepler_node", "wattline_zone"))
        }

    workloads = {
        "kepler_container_package_joules_total",
        "kepler_container_joules_total",
        "kepler_process_package_joules_total",
        "kepler_process_joules_total",
        "wattline_container_departed_joules_total",
        "wattline_awaiting_names_joules",
    }
    assert idle_series("node", 0) == {"wattline_unattributed_joules_total"}
    assert (
        idle_series("node", 3) == idle_series("even", 0) == workloads | {"wattline_unattributed_joules_total"}
    )


def test_special_workloads_are_named_as_kepler_names_them():
    """System, kernel, unknown and terminated ones carry their name in all three labels, and a namespace.

    A container has its own where its engine or Kubernetes has told it.
    """
    names = {
        one.labels["container_id"]: (
            one.labels.get("pod_name"),
            one.labels.get("container_name"),
            one.labels.get("container_namespace"),
        )
        for one in scraped(small())
        if one.name == "kepler_container_package_joules_total"
    }
    assert names == {
        "3f2a": ("web-6d4b-x2v9q", "api", "shop"),
        "system_processes": ("system_processes", "system_processes", "system"),
        "kernel_processes": ("kernel_processes", "kernel_processes", "kernel"),
        "unknown_processes": ("unknown_processes", "unknown_processes", "unknown"),
        "terminated": ("terminated", "terminated", "terminated"),
        "77bb": (None, 'ca"che_1', None),
    }


def test_unknown_figures_are_absent():
    """An idle power or an error that is not known has no series: 0 W would be a claim."""
    series = scraped(small())
    idle = [one for one in series if one.name == "wattline_zone_idle_watts"]
    errors = [one for one in series if one.name == "wattline_zone_error_ratio"]
    assert [(one.labels["index"], one.value) for one in idle] == [("0", Decimal("12.5"))]
    assert [(one.labels["zone"], one.value) for one in errors] == [("gpu", Decimal("0.15"))]


def test_watermark_is_in_unix_time():
    """A watermark is shown in Unix time by the frame's own pair of clocks, to the nanosecond."""
    times = {one.value for one in scraped(small()) if one.name == "wattline_zone_watermark_timestamp_seconds"}
    assert times == {Decimal("1699999999.750000000")}
