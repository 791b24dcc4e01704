# SPDX-License-Identifier: Apache-2.0
"""Units of host processes, and pods whose containers aren't known: finer rows, the same sums."""

import pytest

from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.workloads import KERNEL, SYSTEM, UNKNOWN, Owner
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import UNMATCHED_UNIT, Metadata, MetadataCgroups, MetadataProcesses

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S, header

A = "a" * 64
KEEP_S = 30
# container, pod, machine, unit
PLACES = {
    10: ("", "", "", "cron.service"),
    11: ("", "", "", "cron.service"),
    12: ("", "", "", "ssh.service"),
    13: ("", "", "", UNMATCHED_UNIT),
    14: ("", "pod-1", "", ""),
    15: (A, "pod-1", "", ""),
    16: ("", "", "vm-1", ""),
    17: ("", "", "", ""),
}
FIXED = {"package": 20_000_000}


class Watched:
    """A machine with units, an unmatched cgroup, a pod with a container and without, and a machine."""

    def __init__(self, places=None, **rules):
        self.machine = Paper(counts=False)
        self.places = PLACES if places is None else places
        for cgroup_id, owner in self.places.items():
            self.machine.born(cgroup_id, ROOT, *owner[:3], unit=owner[3])
        self.machine.meter("package", "0", 20, per_cpu_s=8)
        self.desk, self.watch = Desk(Rules(terminated_keep_ns=KEEP_S * S, **rules)), Watch()

    def seconds(self, count, *cgroup_ids):
        for _second in range(count):
            self.machine.run(
                S,
                {((ROOT, 2, 1), 0): (0.25, 1, 1, 0)}
                | {((cgroup_id, 90 + cgroup_id, 7), 0): (0.25, 1, 1, 0) for cgroup_id in cgroup_ids},
            )
            for frame in (self.machine.metadata(), self.machine.activity(), self.machine.power()):
                if self.desk.take(frame):
                    self.watch.check(self.desk.tables())

    def by(self, name):
        return self.desk.dynamic_uj("package", by=name)

    def rows(self):
        """µJ by (container, pod, machine, unit)."""
        table = self.desk.tables()["containers"]
        empty = [""] * len(table)
        columns = (table.container_id, table.pod_uid, table.vm_id or empty, table.unit or empty)
        return dict(zip(zip(*columns, strict=True), table.dynamic_uj[0], strict=True))


def test_units_are_rows_of_the_host():
    """Their sum, with what is in no unit, is system_processes: exactly what it is without units."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    without = Watched({cgroup_id: (*owner[:3], "") for cgroup_id, owner in PLACES.items()})
    without.seconds(10, *PLACES)
    rows = watched.rows()
    assert {row[3] for row in rows} == {"", "cron.service", "ssh.service", UNMATCHED_UNIT}
    # One after the other in the canonical order, so that not even the rounding differs.
    for level in ("container_id", "pod_uid", "vm_id"):
        assert watched.by(level) == without.by(level)
    assert watched.by("unit")["cron.service"] == pytest.approx(2 * watched.by("unit")["ssh.service"], abs=10)
    assert all(row[0] == SYSTEM for row in rows if row[3])


def test_idle_energy_is_the_same_with_units():
    """`even` means containers: all host processes together are one, whatever units and pods they are in."""
    for policy in ("even", "usage"):
        with_units, without = (
            Watched(places, idle_policy=policy, fixed_idle_uw=FIXED)
            for places in (PLACES, {n: ("" if n != 15 else A, "", PLACES[n][2], "") for n in PLACES})
        )
        for watched in (with_units, without):
            watched.seconds(5, *PLACES)
        assert with_units.desk.idle_uj("package") == without.desk.idle_uj("package")
        assert sum(with_units.desk.idle_uj("package").values()) > 0


def test_an_ended_unit_folds_into_the_host():
    """system_processes does not fall when a unit's series ends."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    watched.machine.remove(12)
    others = [cgroup_id for cgroup_id in PLACES if cgroup_id != 12]
    watched.seconds(KEEP_S - 1, *others)
    assert "ssh.service" in watched.by("unit")
    watched.seconds(3, *others)
    assert "ssh.service" not in watched.by("unit")
    assert "terminated" not in watched.by("container_id")


def test_unmatched_time_keeps_its_row():
    """It is a counter of its own: it does not end with the cgroup."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    before_uj = watched.by("unit")[UNMATCHED_UNIT]
    for cgroup_id in PLACES:
        watched.machine.remove(cgroup_id)
    watched.seconds(3 * KEEP_S)
    assert watched.by("unit")[UNMATCHED_UNIT] >= before_uj > 0
    assert {row[3] for row in watched.rows()} == {"", UNMATCHED_UNIT}


def test_a_pod_has_what_runs_in_no_known_container():
    """The pod's uid in the path is enough; the container level still says system_processes."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    rows = watched.rows()
    assert rows[SYSTEM, "pod-1", "", ""] > 0
    assert watched.by("pod_uid")["pod-1"] == rows[SYSTEM, "pod-1", "", ""] + rows[A, "pod-1", "", ""]


def test_a_pod_ends_as_a_whole():
    """While any part of it lives its sum stays; then all of it goes, each part to where it was counted."""
    watched = Watched()
    watched.seconds(10, *PLACES)
    watched.machine.remove(14)
    watched.seconds(2 * KEEP_S, 15)
    assert watched.rows()[SYSTEM, "pod-1", "", ""] > 0
    watched.machine.remove(15)
    watched.seconds(2 * KEEP_S + 5)
    assert watched.by("pod_uid").keys() == {""}
    assert watched.by("container_id").keys() == {SYSTEM, "terminated"}


def test_a_pod_of_which_no_container_was_ever_known_ends():
    """Nothing of it waits for a container that never comes."""
    watched = Watched({14: PLACES[14]})
    watched.seconds(5, 14)
    watched.machine.remove(14)
    watched.seconds(2 * KEEP_S)
    assert watched.by("pod_uid").keys() == {""}
    assert watched.by("container_id").keys() == {SYSTEM}


def test_units_outlive_the_calculator():
    """The ledger has them, and they go on where they were."""
    watched = Watched()
    watched.seconds(5, *PLACES)
    before = watched.rows()
    watched.desk.kill(watched.machine.metadata())
    assert watched.rows() == before
    watched.seconds(5, *PLACES)
    assert all(uj >= before[row] for row, uj in watched.rows().items())
    assert watched.rows().keys() == before.keys()


def test_names_say_who_has_a_unit():
    """Host processes alone; a process's own word where its cgroup shows none."""
    names = Names()
    names.take_metadata(
        Metadata(
            **header("metadata", 1, 1, 0),
            covers_epoch=1,
            covers_mono_ns=1,
            cgroups=MetadataCgroups(
                cgroup_id=U64([1, 2, 3, 4, 5, 6]),
                path=["/", "/a", "/b", "", "/d", "/e"],
                container_id=["", "", A, "", "", ""],
                runtime=["", "", "docker", "", "", ""],
                pod_uid=["", "", "", "", "pod-1", ""],
                vm_id=["", "", "", "", "", "vm-1"],
                unit=["", "a.service", "b.service", "c.service", "d.service", "e.service"],
            ),
            processes=MetadataProcesses(
                pid=U32([10, 11, 12]),
                start_ticks=U64([7, 7, 7]),
                kernel=U8([0, 1, 0]),
                comm=["x", "y", "z"],
                container_id=["", "", ""],
                runtime=["", "", ""],
                pod_uid=["", "", "pod-2"],
                unit=["own.service", "", ""],
            ),
        )
    )
    for key, owner in {
        (1, 10, 7): Owner(SYSTEM, unit="own.service"),
        (2, 10, 7): Owner(SYSTEM, unit="a.service"),
        (3, 10, 7): Owner(A, "docker"),
        (4, 10, 7): Owner(UNKNOWN),
        (5, 10, 7): Owner(SYSTEM, pod_uid="pod-1"),
        (6, 10, 7): Owner(SYSTEM, vm_id="vm-1"),
        (1, 11, 7): Owner(KERNEL),
        (1, 12, 7): Owner(SYSTEM, pod_uid="pod-2"),
        (2, 0, 0): Owner(SYSTEM, unit="a.service"),
    }.items():
        assert names.owner(*key, is_kernel=False) == owner, key
