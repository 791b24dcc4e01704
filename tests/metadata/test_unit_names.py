# SPDX-License-Identifier: Apache-2.0
"""Names of units are bounded: per user, and for root."""

import itertools

import pytest

from services.metadata.directory import Directory
from services.metadata.unit_names import ROOT_MAX, USER_MAX, UnitNames

from .machine import ROOT, FakeProc, Stage, activity

UID, OTHER = 1000, 1001


def _manager(uid: int) -> str:
    return f"/user.slice/user-{uid}.slice/user@{uid}.service/app.slice"


def _units(frame) -> dict[int, str]:
    return dict(zip(frame.cgroups.cgroup_id, frame.cgroups.unit, strict=True))


@pytest.fixture
def stage(tmp_path):
    return Stage(FakeProc(tmp_path / "proc", mount=tmp_path).path)


def test_a_user_has_so_many_names_and_then_one_for_the_rest(stage):
    """`systemd-run --user --unit=ANYTHING` opens no more series, and takes none from anybody else."""
    ids = itertools.count(10)
    made: dict[str, int] = {}
    for tick in range(1, 6):
        paths = {next(ids): f"{_manager(UID)}/any{tick}x{place}y.service" for place in range(USER_MAX)}
        made |= {path.rpartition("/")[2]: cgroup_id for cgroup_id, path in paths.items()}
        units = _units(stage.take(activity(tick, [], {ROOT: "/", **paths})))
    names = {units[cgroup_id] for cgroup_id in made.values()}
    assert names == {f"any1x{place}y.service@{UID}" for place in range(USER_MAX)} | {f"other@{UID}"}
    others, cron = next(ids), next(ids)
    again = next(ids)
    paths = {
        others: f"{_manager(OTHER)}/any9x9y.service",
        cron: "/system.slice/cron.service",
        again: f"{_manager(UID)}/any1x3y.service",
    }
    units = _units(stage.take(activity(7, [], {ROOT: "/", **paths})))
    assert units[others] == f"any9x9y.service@{OTHER}"
    assert units[cron] == "cron.service"
    assert units[again] == f"any1x3y.service@{UID}"


def test_processes_of_cgroup1_share_the_limit(tmp_path):
    """Names that processes report count as those of cgroups do."""
    proc = FakeProc(tmp_path / "proc", mount=tmp_path)
    pids = range(100, 100 + 2 * USER_MAX)
    for pid in pids:
        proc.start(pid, pid, f"{_manager(UID)}/any{pid}y.service")
    frame = Stage(proc.path).take(activity(1, [(ROOT, pid, pid, 0, "sh") for pid in pids], {ROOT: "/"}))
    expected = [f"any{pid}y.service@{UID}" for pid in pids[:USER_MAX]] + [f"other@{UID}"] * USER_MAX
    assert frame.processes.unit == expected


def test_older_cgroups_have_their_names_first():
    """Whatever the order of a frame or a walk, so a restart chooses the same of those that are there."""
    paths = {10 + place: f"{_manager(UID)}/any{place}y.service" for place in range(2 * USER_MAX)}
    directory = Directory()
    directory.learn(reversed(paths), paths, 1)
    named = [f"any{place}y.service@{UID}" for place in range(USER_MAX)]
    assert directory.cgroups().unit == named + [f"other@{UID}"] * USER_MAX


def test_roots_names_are_bounded_too():
    """Those beyond have no unit, which is the series `other`; nothing more is remembered."""
    names = UnitNames()
    given = [names.bounded(f"a{place}b.service") for place in range(ROOT_MAX + 10)]
    assert given == [f"a{place}b.service" for place in range(ROOT_MAX)] + [""] * 10
    assert names.bounded("a0b.service") == "a0b.service"
    assert names.bounded("") == ""
    assert names.bounded("getty@1.service") == ""
    assert names.bounded("x.service@5") == "x.service@5"
    assert sum(map(len, names._given.values())) == ROOT_MAX + 1
