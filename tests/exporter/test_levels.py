# SPDX-License-Identifier: Apache-2.0
"""Virtual machines, pods and what has ended: sums over rows of containers."""

from decimal import Decimal
from itertools import compress

from hypothesis import HealthCheck, given, settings

from services.exporter.zones import KEPLER_ZONES

from .frames import books, closed_books, small
from .readback import scraped, total

ZONE = [("package", "0", "rapl-sysfs")]


def by_label(series, name, label):
    """Value by what the label says."""
    return {one.labels.get(label, ""): one.value for one in series if one.name == name}


def rows(*containers, processes=(), vm_ids=(), units=()):
    """What a scrape shows of containers given as (id, pod uid, µJ) each."""
    table = [(container_id, pod, "", uj, [uj], [0]) for container_id, pod, uj in containers]
    return scraped(books(ZONE, table, list(processes), [], vm_ids=vm_ids, units=units))


def expected_uj(energy, zone, chosen):
    """Sum over the rows of containers that are chosen, all sources and modes of a zone."""
    containers = energy.containers
    return sum(
        columns[zone_row][row]
        for zone_row, name in enumerate(energy.zones.zone)
        if name == zone
        for columns in (containers.dynamic_uj, containers.idle_uj)
        for row in range(len(containers))
        if chosen(row)
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_a_machine_is_the_sum_of_its_rows(energy):
    """Each virtual machine has exactly what all rows with its id have, whatever container they are in."""
    series = scraped(energy)
    vm_ids = energy.containers.vm_id
    for vm_id in {*vm_ids} - {""}:
        for zone in KEPLER_ZONES:
            expected = expected_uj(energy, zone, lambda row: vm_ids[row] == vm_id)  # noqa: B023 used at once
            assert total(series, f"kepler_vm_{zone}_joules_total", vm_id=vm_id) == Decimal(expected).scaleb(
                -6
            )
        cpu_ns = sum(ns for ns, one in zip(energy.containers.cpu_ns, vm_ids, strict=True) if one == vm_id)
        assert total(series, "kepler_vm_bpf_cpu_time_ms_total", vm_id=vm_id) == Decimal(cpu_ns).scaleb(-6)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_a_pod_is_the_sum_of_its_rows(energy):
    """Each pod has exactly what all rows with its uid have, terminated ones included; none while awaited."""
    series = scraped(energy)
    pods = energy.containers.pod_uid
    awaited = set(compress(energy.pods.pod_uid, energy.pods.is_awaited))
    for zone in KEPLER_ZONES:
        hidden = expected_uj(energy, zone, lambda row: pods[row] and pods[row] in awaited)
        found = total(series, "wattline_awaiting_names_joules", level="pod", zone=zone)
        assert found == Decimal(hidden).scaleb(-6)
    for pod_uid in {*pods} - {""} - awaited:
        for zone in KEPLER_ZONES:
            expected = expected_uj(energy, zone, lambda row: pods[row] == pod_uid)  # noqa: B023 used at once
            found = total(series, "wattline_pod_joules_total", pod_uid=pod_uid, zone=zone)
            assert found == Decimal(expected).scaleb(-6)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_nobody_has_a_series_without_a_name(energy):
    """Rows without a machine or a pod are in no series of theirs, not in one with an empty label."""
    for one in scraped(energy):
        assert not one.name.startswith("kepler_vm_") or "vm_id" in one.labels
        assert one.name != "wattline_pod_joules_total" or "pod_uid" in one.labels


def test_a_container_with_machines_is_one_series():
    """A container's rows for its virtual machines and for the rest add up under its one set of labels."""
    series = rows(("c", "p", 1), ("c", "p", 20), ("c", "p", 300), vm_ids=["", "v", "w"])
    name = "kepler_container_package_joules_total"
    assert [(one.labels["container_id"], one.value) for one in series if one.name == name] == [
        ("c", Decimal("0.000321"))
    ]
    assert by_label(series, "kepler_vm_package_joules_total", "vm_id") == {
        "v": Decimal("0.000020"),
        "w": Decimal("0.000300"),
    }


def test_terminated_rows_of_all_pods_are_one_series():
    """Kepler's labels know no pod's uid: what ended is one container there, and apart by pod in ours."""
    series = rows(("terminated", "p", 1), ("terminated", "q", 20), ("terminated", "", 300), ("c", "p", 4000))
    assert by_label(series, "kepler_container_joules_total", "container_id") == {
        "terminated": Decimal("0.000321"),
        "c": Decimal("0.004000"),
    }
    assert by_label(series, "wattline_pod_joules_total", "pod_uid") == {
        "p": Decimal("0.004001"),
        "q": Decimal("0.000020"),
    }


def test_terminated_rows_have_no_info():
    """`wattline_container_info` has one series for each container id, or no join with it would work."""
    ids = [one.labels["container_id"] for one in scraped(small()) if one.name == "wattline_container_info"]
    assert sorted(ids) == ["3f2a", "77bb"]


def test_a_process_names_its_machine():
    """A process has the virtual machine of its row of containers in its labels, and none otherwise."""
    series = scraped(small())
    assert {
        (one.labels["pid"], one.labels.get("vm_id"))
        for one in series
        if one.name == "kepler_process_package_joules_total"
    } == {
        ("101", None),
        ("102", None),
        ("103", None),
        ("1", None),
        ("2", None),
        ("110", "machine-qemu-1-web"),
        ("111", 'machine-qemu-2-d"b'),
    }


def test_the_same_name_in_two_machines_supersedes_nobody():
    """Equal pids in two virtual machines' rows have other labels, and both stay."""
    processes = [(0, 7, 1, "q", 1, [5], [0]), (1, 7, 99, "q", 1, [6], [0])]
    series = rows(("c", "", 0), ("c", "", 0), processes=processes, vm_ids=["v", "w"])
    assert by_label(series, "kepler_process_package_joules_total", "vm_id") == {
        "v": Decimal("0.000005"),
        "w": Decimal("0.000006"),
    }


def test_without_machines_and_pods_there_are_no_such_series():
    """Frames that tell of none, be the column there or not, have no series of that level."""
    for vm_ids in ([], [""]):
        names = {one.name for one in rows(("c", "", 1), vm_ids=vm_ids)}
        assert not {name for name in names if name.startswith("kepler_vm") or "pod" in name}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(closed_books())
def test_units_together_are_the_hosts_processes(energy):
    """In each zone: Σ units = system_processes, whatever rows there are; CPU time likewise."""
    series = scraped(energy)
    if not any(one.name == "wattline_unit_cpu_seconds_total" for one in series):
        assert not energy.containers.unit or "system_processes" not in energy.containers.container_id
        return
    for zone in KEPLER_ZONES:
        assert total(series, "wattline_unit_joules_total", zone=zone) == total(
            series, f"kepler_container_{zone}_joules_total", container_id="system_processes"
        )
    ms = total(series, "kepler_container_bpf_cpu_time_ms_total", container_id="system_processes")
    assert total(series, "wattline_unit_cpu_seconds_total") * 1000 == ms


def test_units_change_nothing_of_keplers():
    """Kepler's series are the same, be host processes in one row or in one for each unit."""
    apart = rows(
        ("system_processes", "", 1),
        ("system_processes", "", 20),
        ("c", "p", 300),
        units=["a.service", "", ""],
    )
    together = rows(("system_processes", "", 21), ("c", "p", 300))

    def keplers(series):
        return [(one.name, one.labels, one.value) for one in series if one.name.startswith("kepler_")]

    assert [one for one in keplers(apart) if "cpu_time" not in one[0]] == [
        one for one in keplers(together) if "cpu_time" not in one[0]
    ]
    assert by_label(apart, "wattline_unit_joules_total", "unit") == {
        "a.service": Decimal("0.000001"),
        "other": Decimal("0.000020"),
    }


def test_unmatched_time_is_a_metric():
    """0 while nothing is unmatched; absent where nobody tells units."""
    name = "wattline_unmatched_cgroups_cpu_seconds_total"
    (one,) = [one for one in scraped(small()) if one.name == name]
    assert (one.labels, one.value) == ({}, Decimal("0.000000022"))
    (one,) = [one for one in rows(("system_processes", "", 1), units=["a.service"]) if one.name == name]
    assert one.value == 0
    assert not [one for one in rows(("system_processes", "", 1)) if one.name == name]


def test_host_processes_of_pods_have_no_info():
    """Rows of several pods share one id: an info series for each would spoil every join."""
    series = rows(("system_processes", "p", 1), ("system_processes", "q", 2), ("unknown_processes", "p", 4))
    assert not [one for one in series if one.name == "wattline_container_info"]
    assert by_label(series, "wattline_pod_joules_total", "pod_uid") == {
        "p": Decimal("0.000005"),
        "q": Decimal("0.000002"),
    }
