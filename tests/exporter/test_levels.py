# SPDX-License-Identifier: Apache-2.0
"""Virtual machines, pods and what has ended: sums over rows of containers."""

from decimal import Decimal

from hypothesis import HealthCheck, given, settings

from services.exporter.zones import KEPLER_ZONES

from .frames import books, closed_books, small
from .readback import scraped, total

ZONE = [("package", "0", "rapl-sysfs")]


def by_label(series, name, label):
    """Value by what the label says."""
    return {one.labels.get(label, ""): one.value for one in series if one.name == name}


def rows(*containers, processes=(), vm_ids=()):
    """What a scrape shows of containers given as (id, pod uid, µJ) each."""
    table = [(container_id, pod, "", uj, [uj], [0]) for container_id, pod, uj in containers]
    return scraped(books(ZONE, table, list(processes), [], vm_ids=vm_ids))


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
    """Each pod has exactly what all rows with its uid have, terminated ones included."""
    series = scraped(energy)
    pods = energy.containers.pod_uid
    for pod_uid in {*pods} - {""}:
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
