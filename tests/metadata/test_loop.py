# SPDX-License-Identifier: Apache-2.0
"""The stage as a whole: where it looks for names, how often, and what it says where it can't know."""

import errno
import shutil

import pytest

from services.metadata import loop, processes
from wattline import cgroup2
from wattline.mounts import MountWatch
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD

from .machine import ROOT, FakeProc, Stage, activity, own_containers

A, B = "a1" * 32, "b2" * 32
OWN = 300  # a cgroup of its own, with a container's path


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc", mount=tmp_path)


def test_the_kernels_own_word_comes_first(proc, tmp_path, monkeypatch):
    """A cgroup whose path is in the frame is named by it, though it is gone, and costs no walk."""
    walks = []
    monkeypatch.setattr(loop, "walk", lambda mount: walks.append(mount) or [(77, "/walked")])
    stage = Stage(proc.path)
    frame = stage.take(activity(1, [(OWN, 20, 5, 0, "sh")], {ROOT: "/", OWN: f"/docker/{A}"}))
    assert list(frame.cgroups.cgroup_id) == [ROOT, OWN]
    assert frame.cgroups.path == ["/", f"/docker/{A}"]
    assert frame.cgroups.container_id == ["", A]
    assert walks == []
    frame = stage.take(activity(2, [(77, 21, 5, 0, "sh")], {ROOT: "/"}))
    assert dict(zip(frame.cgroups.cgroup_id, frame.cgroups.path, strict=True))[77] == "/walked"
    assert walks == [tmp_path]


def test_a_failed_look_at_the_mounts_is_made_up_for(proc, tmp_path, monkeypatch):
    """One frame has no answer; the next one finds the mount without another mount or a restart."""
    find = cgroup2.find_mount
    errors = iter([OSError(errno.ENFILE, "Too many open files in system")])

    def look(procfs):
        for error in errors:
            raise error
        return find(procfs)

    monkeypatch.setattr(cgroup2, "find_mount", look)
    changes = iter([True])
    monkeypatch.setattr(MountWatch, "has_changed", lambda _watch: next(changes, False))
    stage = Stage(proc.path)
    with pytest.raises(OSError, match="Too many"):
        stage.take(activity(1, [], {ROOT: "/"}))
    (source, *_) = stage.take(activity(2, [], {ROOT: "/"})).sources
    assert (source.name, source.up) == ("cgroup2", True)
    assert stage._stage._mount.place == tmp_path


def test_a_failed_look_for_cgroup1_is_made_up_for(proc, monkeypatch):
    """No file left to open doesn't mean no cgroup v1: its containers would be lost for a minute."""
    proc.start(20, 500, f"/docker/{A}")
    errors = iter([OSError(errno.ENFILE, "Too many open files in system")])
    read = processes.procfs._read

    def fail_once(path):
        for error in errors if path.parent.name == "self" else ():
            raise error
        return read(path)

    changes = iter([True])
    monkeypatch.setattr(MountWatch, "has_changed", lambda _watch: next(changes, False))
    monkeypatch.setattr(processes.procfs, "_read", fail_once)
    stage = Stage(proc.path)
    rows = [(ROOT, 20, 500, 0, "sh")]
    with pytest.raises(OSError, match="Too many"):
        stage.take(activity(1, rows, {ROOT: "/"}))
    assert own_containers(stage.take(activity(2, rows, {ROOT: "/"}))) == {20: A}


def test_a_path_that_comes_later_is_taken(proc):
    """A cgroup that neither the frame nor the tree could place is named once a frame can."""
    stage = Stage(proc.path)
    assert stage.take(activity(1, [(OWN, 20, 5, 0, "sh")])).cgroups.path == [""]
    frame = stage.take(activity(2, [(OWN, 20, 5, 0, "sh")], {OWN: f"/docker/{A}"}))
    assert (frame.cgroups.path, frame.cgroups.container_id) == ([f"/docker/{A}"], [A])


def test_a_process_in_the_root_is_named_by_cgroup1(proc):
    """Where cgroup2 tells no container and a v1 hierarchy does, the process has a container of its own."""
    proc.start(20, 500, f"/docker/{A}")
    proc.start(21, 501, "/user.slice")
    stage = Stage(proc.path)
    rows = [(ROOT, 20, 500, 0, "sh"), (ROOT, 21, 501, 0, "bash")]
    frame = stage.take(activity(1, rows, {ROOT: "/"}))
    assert own_containers(frame) == {20: A}
    assert frame.processes.runtime == ["docker", ""]
    assert frame.cgroups.container_id == [""]


def test_a_process_in_its_daemons_cgroup_is_named_too(proc):
    """Older runtimes leave containers' processes in their own service's cgroup2: the same as the root."""
    proc.start(20, 500, f"/docker/{A}")
    rows = [(OWN, 20, 500, 0, "sh")]
    frame = Stage(proc.path).take(activity(1, rows, {OWN: "/system.slice/containerd.service"}))
    assert own_containers(frame) == {20: A}


def test_where_cgroup2_tells_the_container_nobody_is_asked(proc):
    """A process whose cgroup has a container is named by it, and isn't read."""
    proc.start(20, 500, f"/docker/{B}")
    frame = Stage(proc.path).take(activity(1, [(OWN, 20, 500, 0, "sh")], {OWN: f"/docker/{A}"}))
    assert own_containers(frame) == {}
    assert frame.processes.container_id == []


def test_without_cgroup1_nobody_is_asked(tmp_path):
    """On a host of cgroup2 alone, processes of the root cost nothing."""
    proc = FakeProc(tmp_path / "proc", cgroup1=False, mount=tmp_path)
    proc.start(20, 500, f"/docker/{A}")
    stage = Stage(proc.path)
    assert own_containers(stage.take(activity(1, [(ROOT, 20, 500, 0, "sh")], {ROOT: "/"}))) == {}
    assert stage.said("containers_by_process") == []


def test_kernel_threads_and_the_dead_are_not_asked(proc):
    """Neither has anything to say."""
    proc.start(20, 500, f"/docker/{A}")
    proc.start(21, 501, f"/docker/{A}")
    rows = [(ROOT, 20, 500, PROCESS_KERNEL_THREAD, "kthread"), (ROOT, 21, 501, PROCESS_ENDED, "sh")]
    assert own_containers(Stage(proc.path).take(activity(1, rows, {ROOT: "/"}))) == {}


def test_each_process_is_asked_once(proc, monkeypatch):
    """What it said holds for as long as it is remembered, though its files are gone."""
    proc.start(20, 500, f"/docker/{A}")
    asked = []
    read = processes.procfs.cgroups_of
    monkeypatch.setattr(processes.procfs, "cgroups_of", lambda *key: asked.append(key[1]) or read(*key))
    stage = Stage(proc.path)
    rows = [(ROOT, 20, 500, 0, "sh"), (ROOT, 30, 500, 0, "gone")]
    for tick in range(1, 4):
        assert own_containers(stage.take(activity(tick, rows, {ROOT: "/"}))) == {20: A}
        shutil.rmtree(proc.path / "20", ignore_errors=True)
    assert sorted(asked) == [20, 30]


def test_who_runs_another_program_is_asked_again(proc):
    """A runtime's child begins in the host's cgroup, is moved, then becomes the container's program."""
    proc.start(20, 500, "/system.slice/docker.service")
    stage = Stage(proc.path)
    assert own_containers(stage.take(activity(1, [(ROOT, 20, 500, 0, "runc:[2:INIT]")], {ROOT: "/"}))) == {}
    proc.start(20, 500, f"/docker/{A}")
    assert own_containers(stage.take(activity(2, [(ROOT, 20, 500, 0, "nginx")], {ROOT: "/"}))) == {20: A}


def test_who_has_gone_keeps_its_name(proc):
    """A process that can't be asked again, for it is gone, stays with what it said at first."""
    proc.start(20, 500, f"/docker/{A}")
    stage = Stage(proc.path)
    stage.take(activity(1, [(ROOT, 20, 500, 0, "sh")], {ROOT: "/"}))
    shutil.rmtree(proc.path / "20")
    assert own_containers(stage.take(activity(2, [(ROOT, 20, 500, 0, "true")], {ROOT: "/"}))) == {20: A}


def test_a_pids_next_owner_is_asked_itself(proc):
    """(pid, start) is who is asked, and who is named."""
    proc.start(20, 500, f"/docker/{A}")
    stage = Stage(proc.path)
    stage.take(activity(1, [(ROOT, 20, 500, 0, "sh")], {ROOT: "/"}))
    proc.start(20, 900, f"/docker/{B}")
    frame = stage.take(activity(2, [(ROOT, 20, 900, 0, "sh")], {ROOT: "/"}))
    assert list(frame.processes.start_ticks) == [500, 900]
    assert frame.processes.container_id == [A, B]


def test_a_frame_asks_a_bounded_number(proc, monkeypatch):
    """The others are asked at the next frame; those who only change their names wait for the new ones."""
    monkeypatch.setattr(processes, "_ASKED_MAX", 3)
    for pid in range(20, 26):
        proc.start(pid, 500, f"/docker/{A}")
    stage = Stage(proc.path)
    rows = [(ROOT, pid, 500, 0, "sh") for pid in range(20, 26)]
    assert list(own_containers(stage.take(activity(1, rows[:4], {ROOT: "/"})))) == [20, 21, 22]
    renamed = [(*row[:4], "busy") for row in rows[:3]]
    assert len(own_containers(stage.take(activity(2, [*renamed, *rows[3:]], {ROOT: "/"})))) == 6


def test_what_is_lost_is_said_once(proc):
    """One line says that containers are told by their processes, and what isn't told apart then."""
    proc.start(20, 500, f"/docker/{A}")
    proc.start(21, 500, f"/docker/{B}")
    stage = Stage(proc.path)
    for tick in range(1, 4):
        stage.take(activity(tick, [(ROOT, 20, 500, 0, "sh"), (ROOT, 21, 500, 0, "sh")], {ROOT: "/"}))
    (line,) = stage.said("containers_by_process")
    assert "shorter than a tick" in line
    assert "no longer listed" in line


def test_where_cgroup2_knows_the_container_too_nothing_is_lost(proc):
    """A process that left the root for a container of both hierarchies has a row in each; nothing is said."""
    proc.start(20, 500, f"/docker/{A}")
    (proc.path / "20/cgroup").write_text(f"2:cpu:/docker/{A}\n0::/docker/{A}\n", encoding="ascii")
    stage = Stage(proc.path)
    rows = [(ROOT, 20, 500, 0, "sh"), (OWN, 20, 500, 0, "sh")]
    frame = stage.take(activity(1, rows, {ROOT: "/", OWN: f"/docker/{A}"}))
    assert own_containers(frame) == {20: A}
    assert stage.said("containers_by_process") == []


def test_without_any_cgroup2_containers_are_still_told(tmp_path):
    """A host of cgroup v1 alone: processes are asked, and the source says what is lost."""
    proc = FakeProc(tmp_path / "proc")
    proc.start(20, 500, f"/docker/{A}")
    stage = Stage(proc.path)
    for paths in ({}, {ROOT: "/"}):
        frame = stage.take(activity(1 + len(paths), [(ROOT, 20, 500, 0, "sh")], paths))
        assert own_containers(frame) == {20: A}
        source, readable = frame.sources
        assert (readable.name, readable.up) == ("processes", True)
        assert not source.up
        assert "no cgroup2 hierarchy is mounted: containers are found by their processes" in source.reason
    assert len(stage.said("no_cgroup2") + stage.said("containers_by_process")) == 1


def test_with_the_kernels_word_no_mount_is_needed(tmp_path):
    """Without a view of the tree, activity tells where cgroups are, and all is well."""
    proc = FakeProc(tmp_path / "proc", cgroup1=False)
    stage = Stage(proc.path)
    frame = stage.take(activity(1, [(OWN, 20, 500, 0, "sh")], {ROOT: "/", OWN: f"/docker/{A}"}))
    assert [source.up for source in frame.sources] == [True]
    assert frame.cgroups.container_id == ["", A]


def test_a_cgroup_that_cannot_be_found_is_told_by_its_processes(tmp_path):
    """Without the tree and the kernel's word, cgroup2's own line in /proc names the process."""
    proc = FakeProc(tmp_path / "proc", cgroup1=False)
    proc.start(20, 500, "/")
    (proc.path / "20/cgroup").write_text(f"0::/system.slice/docker-{A}.scope\n", encoding="ascii")
    assert own_containers(Stage(proc.path).take(activity(1, [(OWN, 20, 500, 0, "sh")]))) == {20: A}
