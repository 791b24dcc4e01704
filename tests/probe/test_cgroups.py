# SPDX-License-Identifier: Apache-2.0
"""Cgroups as the kernel tells of them: paths, short lives, removals, and what becomes of their time."""

import errno
import subprocess
import sys
import time

import pytest

from tests.hygiene.names import own_name
from tests.hygiene.removal import remove_hierarchy
from tests.load import SPIN, KernelAccount, in_cgroup, kernel_cpu_us
from tests.probe.conftest import PROCFS
from tests.probe.rows import cgroup_value, charged_ns, elapsed_ns, path_of, processes, wait_for
from wattline import cgroup2
from wattline.mounts import MountWatch
from wattline.wire.frames import PROCESS_ENDED

MS = 1_000_000


def work(cgroup, seconds=0.05):
    """Use some CPU time in a cgroup; its id."""
    with in_cgroup(cgroup, [sys.executable, "-c", SPIN, str(seconds)], stdin=subprocess.DEVNULL) as process:
        process.wait(timeout=30)
    return cgroup.stat().st_ino


def below_mount(cgroup, mount):
    return "/" + str(cgroup.relative_to(mount))


def test_a_cgroup_that_lives_a_moment_has_its_path_and_time(reader, cgroup, cgroup2_mount):
    """Made, used and removed between two samples: path, CPU time and the removal are there all the same."""
    short = cgroup / "lives a moment"
    short.mkdir()
    begun = time.monotonic()
    with in_cgroup(short, ["sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done"]) as process:
        process.wait(timeout=30)
    cgroup_id, path = short.stat().st_ino, below_mount(short, cgroup2_mount)
    short.rmdir()
    lived_s = time.monotonic() - begun
    sample = reader.sample()
    print(f"lived {lived_s * 1000:.0f} ms")
    assert path_of(sample, cgroup_id) == (path, True)
    assert cgroup_value(sample, cgroup_id) > MS
    assert {
        row[0] for (row_id, _pid), rows in processes(sample).items() if row_id == cgroup_id for row in rows
    } == {"sh"}


def test_cgroups_that_were_there_before_have_paths(load_reader, cgroup, cgroup2_mount):
    """A cgroup older than the probe has its path from the tree."""
    reader = load_reader()
    work(cgroup)
    assert path_of(reader.sample(), cgroup.stat().st_ino) == (below_mount(cgroup, cgroup2_mount), False)
    assert path_of(reader.sample(), cgroup2.ROOT_ID) in (("/", False), None)


def test_other_hierarchies_are_not_mistaken_for_cgroup2(reader, cgroup, tmp_path):
    """A directory made in a cgroup v1 hierarchy names nothing, whatever its id."""
    hierarchy, name = tmp_path / "v1", own_name()
    hierarchy.mkdir()
    subprocess.run(
        ["mount", "-t", "cgroup", "-o", f"none,name={name}", "wattline-test", str(hierarchy)],
        check=True,
    )
    try:
        for number in range(8):
            (hierarchy / f"made-in-v1-{number}").mkdir()
        work(cgroup)
        sample = reader.sample()
        for number in range(8):
            (hierarchy / f"made-in-v1-{number}").rmdir()
    finally:
        subprocess.run(["umount", str(hierarchy)], check=True)
        remove_hierarchy(name)
    assert not any("made-in-v1" in path for path in sample.paths.path)


def test_a_removed_cgroup_leaves_its_time_to_its_parent(reader, cgroup):
    """Child and grandchild fold into whoever is left above them; no nanosecond is lost or counted twice."""
    child, grandchild = cgroup / "child", cgroup / "child" / "grandchild"
    grandchild.mkdir(parents=True)
    kernel = KernelAccount(cgroup, steal_since_ns=0)
    ids = [work(path) for path in (child, grandchild)]
    grandchild.rmdir()
    child.rmdir()
    before = reader.sample()
    used_ns = sum(cgroup_value(before, cgroup_id) for cgroup_id in ids)
    reader.retire(time.monotonic_ns())
    after = reader.sample()
    assert used_ns > 100 * MS
    assert cgroup_value(after, cgroup, departed=True) == used_ns
    assert not any(
        cgroup_value(after, cgroup_id, departed=departed) for cgroup_id in ids for departed in (0, 1)
    )
    assert all(path_of(after, cgroup_id) is None for cgroup_id in ids)
    assert kernel.agrees(cgroup_value(after, cgroup) + used_ns, 0.01, slack_ns=20 * MS)
    assert abs(charged_ns(after) - elapsed_ns(after)) < MS + len(after.cpus) * after.skew_ns


def test_a_child_removed_before_its_parent_follows_it(reader, cgroup):
    """Removed at different times: what was the child's goes on from the parent's departed row to the next."""
    child, grandchild = cgroup / "child", cgroup / "child" / "grandchild"
    grandchild.mkdir(parents=True)
    work(grandchild)
    grandchild_id, child_id = grandchild.stat().st_ino, child.stat().st_ino
    grandchild.rmdir()
    used_ns = cgroup_value(reader.sample(), grandchild_id)
    reader.retire(time.monotonic_ns())
    assert cgroup_value(reader.sample(), child_id, departed=True) == used_ns
    child.rmdir()
    reader.sample()
    reader.retire(time.monotonic_ns())
    after = reader.sample()
    assert cgroup_value(after, child_id, departed=True) == 0
    assert cgroup_value(after, cgroup, departed=True) == used_ns


def test_folding_works_in_a_full_table(load_reader, cgroup):
    """A table without a free row still takes a removed cgroup's time over to its parent."""
    reader = load_reader(cgroup_rows=32)  # other cgroups of the machine take some of them
    children = [cgroup / f"c{number}" for number in range(60)]
    for child in children:
        child.mkdir()
        work(child, 0.005)
    full = reader.sample()
    for child in children:
        child.rmdir()
    reader.sample()
    reader.retire(time.monotonic_ns())  # finds out about those that there was no room to list
    reader.sample()
    reader.retire(time.monotonic_ns())
    after = reader.sample()
    assert len(full.cgroups) == 32
    assert full.losses["cgroup_updates"] > 0
    assert cgroup_value(after, cgroup, departed=True) > 10 * MS
    assert abs(charged_ns(after) - elapsed_ns(after)) < MS + len(after.cpus) * after.skew_ns


def test_a_moved_process_keeps_a_row_in_each_cgroup(reader, cgroup):
    """Time before the move stays where it was used, time after it goes to the new cgroup."""
    other = cgroup / "other"
    other.mkdir()
    with in_cgroup(cgroup, [sys.executable, "-c", SPIN, "3600"]) as process:
        wait_for(lambda: kernel_cpu_us(cgroup) > 300_000)
        (other / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        moved = reader.sample()
        wait_for(lambda: kernel_cpu_us(other) > 250_000)  # others may want the CPU as well
        after = reader.sample()
        rows = processes(after)
        first, second = (rows[path.stat().st_ino, process.pid] for path in (cgroup, other))
    assert first[0][:2] == second[0][:2]
    assert not first[0][2] & PROCESS_ENDED
    assert abs(first[0][-1] - processes(moved)[cgroup.stat().st_ino, process.pid][0][-1]) < 20 * MS
    assert second[0][-1] > 200 * MS
    assert cgroup_value(after, other) > 200 * MS
    process.wait()
    other_id = other.stat().st_ino
    other.rmdir()
    assert path_of(reader.sample(), other_id)[1]


def test_a_removal_that_was_missed_is_found(reader, cgroup):
    """A cgroup that the kernel did not tell to be gone is noticed by looking."""
    child = cgroup / "child"
    child.mkdir()
    child_id = work(child)
    child.rmdir()
    reader.sample()
    # As if the event of its removal had been missed.
    reader.program.mark_removed(child_id, 0)
    assert path_of(reader.sample(), child_id)[1] is False
    for _step in range(130):
        sample = reader.sample()
        reader.retire(0)
        if path_of(sample, child_id)[1]:
            break
    assert path_of(reader.sample(), child_id)[1] is True


def test_a_tree_cut_by_a_namespace_ends_no_cgroup(load_reader, cgroup, tmp_path, monkeypatch):
    """Where only part of the tree can be seen, nobody is taken to be gone for not being in it."""
    (tmp_path / "self").mkdir()
    cut, whole = f"none {cgroup} cgroup2 rw 0 0\n", f"none {cgroup2.find_mount(PROCFS)} cgroup2 rw 0 0\n"
    mounts = tmp_path / "self" / "mounts"
    mounts.write_text(cut + whole, encoding="utf-8")
    assert cgroup2.whole_mount(tmp_path) == cgroup2.find_mount(PROCFS)
    mounts.write_text(cut, encoding="utf-8")
    assert cgroup2.whole_mount(tmp_path) is None
    monkeypatch.setattr("tests.probe.conftest.PROCFS", tmp_path)
    reader = load_reader()
    cgroup_id = work(cgroup)
    for _step in range(130):
        sample = reader.sample()
        reader.retire(0)
    assert path_of(sample, cgroup_id)[1] is False
    assert {source.name: source.up for source in sample.sources}["host_cgroups"] is False


def test_a_failed_look_at_the_mounts_is_made_again(reader, monkeypatch):
    """The step fails and is counted by the run loop; at the next one the probe sees the hierarchy again."""
    find = cgroup2.find_mount
    errors = iter([OSError(errno.ENFILE, "Too many open files in system")])

    def look(procfs):
        for error in errors:
            raise error
        return find(procfs)

    changes = iter([True])
    reader._reconciler._mount._place = None
    monkeypatch.setattr(MountWatch, "has_changed", lambda _watch: next(changes, False))
    monkeypatch.setattr(cgroup2, "find_mount", look)
    reader.sample()
    with pytest.raises(OSError, match="Too many open files"):
        reader.retire(0)
    reader.retire(0)
    assert reader._reconciler._mount.place == find(PROCFS)
