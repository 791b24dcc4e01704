# SPDX-License-Identifier: Apache-2.0
"""Cgroups that match nothing are seen: in the frame, and once each in the log. Names that paths tell."""

import msgspec

from services.metadata.directory import UNMATCHED_MAX
from wattline.wire.columns import U8, U64
from wattline.wire.frames import CGROUP_DEPARTED, UNMATCHED_UNIT

from .machine import FakeProc, Stage, activity

PATHS = {
    1: "/",
    2: "/system.slice",
    3: "/system.slice/cron.service",
    4: "/strange/x",
    5: "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef/pause",
    6: "/lxc.payload.web1/init.scope",
    7: "/qemu.slice/101.scope",
}


def stage(tmp_path, **settings):
    return Stage(FakeProc(tmp_path / "proc", cgroup1=False).path, **settings)


def test_each_row_has_its_unit(tmp_path):
    """Only host processes have one; what tells nothing is told apart from the root and slices."""
    frame = stage(tmp_path).take(activity(1, [], PATHS))
    assert dict(zip(frame.cgroups.cgroup_id, frame.cgroups.unit, strict=True)) == {
        1: "",
        2: "",
        3: "cron.service",
        4: UNMATCHED_UNIT,
        5: "",
        6: "",
        7: "",
    }
    names = dict(zip(frame.containers.container_id, frame.containers.container_name, strict=True))
    assert names == {"lxc-web1": "web1"}


def test_a_path_that_tells_nothing_is_logged_once(tmp_path):
    """With the path and the cure; again only after a restart."""
    running = stage(tmp_path)
    for second in range(1, 5):
        running.take(activity(second, [], PATHS))
    (line,) = running.said("cgroup_unmatched")
    assert "/strange/x" in line
    assert "--container-patterns" in line


def test_only_what_has_used_cpu_time_itself_is_logged(tmp_path):
    """Directories that only hold others, or held some that are gone, are no finding."""
    running = stage(tmp_path)
    frame = activity(1, [], {4: "/strange", 5: "/strange/x", 6: "/strange/y"})
    table = msgspec.structs.replace(frame.cgroups, cpu_ns=U64([0, 5, 5]), flags=U8([0, CGROUP_DEPARTED, 0]))
    running.take(msgspec.structs.replace(frame, cgroups=table))
    (line,) = running.said("cgroup_unmatched")
    assert "/strange/y" in line


def test_there_is_an_end_to_it(tmp_path):
    """Whoever makes cgroups without end fills neither the log nor the memory."""
    running = stage(tmp_path)
    for second in range(4):
        paths = {100 + n: f"/strange/{n}" for n in range(second * 400, second * 400 + 400)}
        running.take(activity(second + 1, [], paths))
    assert len(running.said("cgroup_unmatched")) == UNMATCHED_MAX


def test_a_pattern_of_the_setting_is_used(tmp_path):
    """By cgroup2's path; what it names is no longer unmatched, and has its name."""
    running = stage(tmp_path, patterns="batch=/strange/{name}")
    frame = running.take(activity(1, [], PATHS))
    rows = dict(
        zip(
            frame.cgroups.path,
            zip(frame.cgroups.container_id, frame.cgroups.runtime, strict=True),
            strict=True,
        )
    )
    assert rows["/strange/x"] == ("batch-x", "batch")
    assert running.said("cgroup_unmatched") == []
    assert "x" in frame.containers.container_name


def test_a_pattern_of_the_setting_is_used_for_processes_too(tmp_path):
    """Where only cgroup v1 knows the container; units likewise."""
    proc = FakeProc(tmp_path / "proc")
    proc.start(20, 500, "/strange/x")
    proc.start(21, 501, "/system.slice/cron.service")
    running = Stage(proc.path, patterns="batch=/strange/{name}")
    frame = running.take(activity(1, [(1, 20, 500, 0, "sh"), (1, 21, 501, 0, "cron")], {1: "/"}))
    assert frame.processes.container_id == ["batch-x", ""]
    assert frame.processes.unit == ["", "cron.service"]
    assert frame.cgroups.unit == []
    assert frame.containers.container_name == ["x"]
