# SPDX-License-Identifier: Apache-2.0
"""Cgroups that other users name: none of them joins a container, pod or machine of another owner."""

import os

import pytest

from services.metadata.cgroup_owner import delegation
from services.metadata.cgroup_path import Claim, Delegation, claim, identify_owned, user_delegation
from services.metadata.container_names import may_name

from .machine import ROOT, FakeProc, Stage, activity, own_containers

A, B, C, D, E = "a1" * 32, "b2" * 32, "c3" * 32, "d4" * 32, "e5" * 32
POD = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_POD, INNER_POD = f"a{POD[1:]}", f"b{POD[1:]}"
MANAGER = "/user.slice/user-1000.slice/user@1000.service"
UID, OTHER = 60999, 60998


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{MANAGER}/app.slice/docker-{A}.scope", (f"{A}@1000", "", "")),
        (f"{MANAGER}/kubepods-pod{POD.replace('-', '_')}.slice/x", ("", f"{POD}@1000", "")),
        (f"{MANAGER}/machine-qemu\\x2d1\\x2dweb.scope", ("", "", "machine-qemu-1-web@1000")),
        (f"{MANAGER}/app.slice/run-1.scope", ("", "", "")),
        (f"{MANAGER}/{A}", (f"{A}@1000", "", "")),
        (f"{MANAGER}/kata_{A}", (f"{A}@1000", "", "")),
        (f"{MANAGER}/lxc.payload.web1/x", ("lxc-web1@1000", "", "")),
        (f"{MANAGER}/slurmstepd.scope/job_1", ("slurm-1@1000", "", "")),
        (f"{MANAGER}/systemd-nspawn@web.service", ("nspawn-web@1000", "", "")),
        (f"{MANAGER}/garden/{POD}", (f"{POD}@1000", "", "")),
        (f"{MANAGER}/buildkit/x3k1p9q0z8y7w6v5u4t3s2r1a", ("x3k1p9q0z8y7w6v5u4t3s2r1a@1000", "", "")),
        (f"{MANAGER}/nomad.slice/{POD}.redis.scope", (f"{POD}.redis@1000", "", "")),
        (f"/lxc.payload.web1{MANAGER}/docker-{A}.scope", ("lxc-web1", "", "")),
        (f"/system.slice/docker-{A}.scope{MANAGER}/docker-{A}.scope", (A, "", "")),
        (f"/system.slice/docker-{A}.scope{MANAGER}/docker-{B}.scope", (f"{B}@1000", "", "")),
        (f"/system.slice/docker-{A}.scope", (A, "", "")),
        (f"/user@1000.service-of-root/docker-{A}.scope", (A, "", "")),
    ],
)
def test_names_below_a_delegation_have_their_owner(path, expected):
    """What root named above it stays as it is, though a user repeats it below."""
    identity = identify_owned(path, user_delegation(path))
    assert (identity.container_id, identity.pod_uid, identity.vm_id) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{A}/init.scope", Claim(is_nested=False, path=f"/docker/{A}")),
        (f"/docker/{A}", Claim(is_nested=False, path=f"/docker/{A}")),
        (f"/docker/{A}/docker/{B}/x", Claim(is_nested=True, path=f"/docker/{A}/docker/{B}")),
        (
            f"/a/kubepods.slice:cri-containerd:{A}/x",
            Claim(is_nested=False, path=f"/a/kubepods.slice:cri-containerd:{A}"),
        ),
        (
            f"/a/kubepods.slice:cri-containerd-{A}.scope/x",
            Claim(is_nested=False, path=f"/a/kubepods.slice:cri-containerd-{A}.scope"),
        ),
        ("/lxc/102/ns/system.slice", Claim(is_nested=False, path="/lxc/102")),
        (f"/slurm/uid_1/job_2/{A}/x", Claim(is_nested=True, path=f"/slurm/uid_1/job_2/{A}")),
        (f"/docker/{A}/machine/qemu-1-a.libvirt-qemu/x", Claim(is_nested=False, path=f"/docker/{A}")),
        ("/system.slice", None),
    ],
)
def test_the_cgroup_that_claims_a_container(path, expected):
    """It and all below it are one container; one within another is told."""
    assert claim(path) == expected


def test_the_owner_of_a_directory_is_who_names_what_is_in_it(tmp_path):
    """The container's own directory may be a user's (user namespaces): root has named it all the same."""
    scope = tmp_path / f"machine.slice/libpod-{A}.scope"
    inner = scope / f"docker-{B}.scope"
    inner.mkdir(parents=True)
    os.chown(scope, UID, UID)
    os.chown(inner, UID, UID)
    path = f"/machine.slice/libpod-{A}.scope"
    assert delegation(tmp_path, "/machine.slice") is None
    assert delegation(tmp_path, "/") is None
    assert delegation(tmp_path, f"{path}/docker-{B}.scope/gone/x") == Delegation(path, UID)
    assert identify_owned(path, delegation(tmp_path, path)).container_id == A
    nested = f"{path}/docker-{B}.scope"
    assert identify_owned(nested, delegation(tmp_path, nested)).container_id == f"{B}@{UID}"
    assert delegation(tmp_path, "/machine.slice/\0") is None


def test_a_users_unit_has_its_owner():
    """A user's cron.service is not the system's; the manager itself is root's unit."""
    for path, unit in (
        (f"{MANAGER}/app.slice/cron.service", "cron.service@1000"),
        (MANAGER, "user@1000.service"),
        (f"{MANAGER}/app.slice", "user@1000.service"),
        ("/system.slice/cron.service", "cron.service"),
    ):
        assert identify_owned(path, user_delegation(path)).unit == unit
    own = Delegation("/system.slice/app.service", UID)
    assert identify_owned("/system.slice/app.service/x", own).unit == "app.service"
    given = Delegation("/system.slice", UID)
    assert identify_owned("/system.slice/cron.service", given).unit == f"cron.service@{UID}"


@pytest.fixture
def tree(tmp_path):
    """A cgroup tree on paper in which a user owns /given."""
    (tmp_path / "cgroup/given").mkdir(parents=True)
    os.chown(tmp_path / "cgroup/given", UID, UID)
    return tmp_path / "cgroup"


@pytest.fixture
def stage(tree, tmp_path, monkeypatch):
    proc = FakeProc(tmp_path / "proc", cgroup1=False, mount=tree)
    monkeypatch.setattr("wattline.cgroup2.is_whole", lambda _mount: True)
    return Stage(proc.path, str(tree))


def named(frame):
    """Container by path, of those that have one."""
    rows = zip(frame.cgroups.path, frame.cgroups.container_id, strict=True)
    return {path: container_id for path, container_id in rows if container_id}


def test_a_users_cgroup_never_joins_a_container(stage):
    """It has a series of its own: before the container is there, beside it, and when it has gone."""
    real, fake = f"/system.slice/docker-{A}.scope", f"/given/docker-{A}.scope"
    own = {fake: f"{A}@{UID}"}
    assert named(stage.take(activity(1, [], {ROOT: "/", 9: fake}))) == own
    assert named(stage.take(activity(2, [], {ROOT: "/", 9: fake, 10: real}))) == {**own, real: A}
    assert named(stage.take(activity(3, [], {ROOT: "/", 10: real, 11: f"{fake}/x"}))) == {
        **own,
        f"{fake}/x": f"{A}@{UID}",
        real: A,
    }
    again = Stage(stage._stage._settings.path_procfs, stage._stage._settings.path_cgroup)
    assert named(again.take(activity(4, [], {9: fake}))) == own


@pytest.mark.parametrize(
    ("real", "fake", "container_id"),
    [
        ("/lxc.payload.web1", "/given/lxc.payload.web1", "lxc-web1"),
        ("/slurm/uid_0/job_7", "/given/slurmstepd.scope/job_7", "slurm-7"),
        (f"/kubepods/pod{POD}/kata_{A}", f"/given/kata_{A}", A),
        ("/machine.slice/systemd-nspawn@web.service", "/given/systemd-nspawn@web.service", "nspawn-web"),
        (f"/user.slice/{A}", f"/given/{A}", A),
    ],
)
def test_no_new_kind_of_container_can_be_joined(stage, real, fake, container_id):
    """By a user's cgroup it is shown with its owner, by another one of root's as the second."""
    other = f"/lxc.payload/{real[-4:]}" if real == "/lxc.payload.web1" else f"/copy{fake[6:]}"
    assert named(stage.take(activity(1, [], {ROOT: "/", 8: real, 9: fake, 10: other}))) == {
        real: container_id,
        fake: f"{container_id}@{UID}",
        other: f"{container_id}@0",
    }


def test_a_second_cgroup_of_roots_is_shown_apart(stage):
    """The first keeps its series; after a restart of metadata the older one does."""
    first, second = f"/system.slice/docker-{A}.scope", f"/other/docker-{A}.scope"
    expected = {first: A, f"{first}/x": A, second: f"{A}@0"}
    stage.take(activity(1, [], {5: first}))
    assert named(stage.take(activity(2, [], {5: first, 6: f"{first}/x", 7: second}))) == expected
    assert named(stage.take(activity(3, [], {5: first, 6: f"{first}/x", 7: second}))) == expected
    again = Stage(stage._stage._settings.path_procfs, stage._stage._settings.path_cgroup)
    assert named(again.take(activity(4, [], {5: first, 6: f"{first}/x", 7: second}))) == expected


def test_a_cgroup_in_another_container_comes_second(stage):
    """A container's root can't take the name of a container beside it, however early it comes."""
    nested, real = f"/docker/{B}/docker/{A}", f"/docker/{A}"
    assert named(stage.take(activity(1, [], {5: nested}))) == {nested: A}
    assert named(stage.take(activity(2, [], {5: nested, 6: real}))) == {nested: f"{A}@0", real: A}


def test_a_pod_in_another_container_comes_second(stage):
    """A container's root can't give its energy to a pod beside it; pods of a kubelet in it (kind) stay."""
    own, other = f"/kubepods/pod{OTHER_POD}/{A}", f"/kubepods/pod{POD}/{B}"
    fake = f"{own}/kubepods/pod{POD}/{C}"
    inner = f"{own}/kubepods/pod{INNER_POD}/{D}"
    docker = f"{own}/docker/{E}"

    def pods(mono_ns, **paths):
        frame = stage.take(activity(mono_ns, [], {int(name[1:]): path for name, path in paths.items()}))
        return dict(zip(frame.cgroups.path, frame.cgroups.pod_uid, strict=True))

    expected = {own: OTHER_POD, inner: INNER_POD, docker: OTHER_POD}
    assert pods(1, c5=own, c6=inner, c7=docker, c8=fake) == {**expected, fake: POD}
    expected |= {fake: f"{POD}@0", other: POD}
    assert pods(2, c5=own, c6=inner, c7=docker, c8=fake, c9=other) == expected
    expected[f"{fake}/x"] = f"{POD}@0"
    assert pods(3, c5=own, c6=inner, c7=docker, c8=fake, c9=other, c10=f"{fake}/x") == expected


def test_a_container_that_starts_again_keeps_its_name(stage):
    """Another cgroup of its path is the same container; so is another path once those are gone."""
    path, moved = f"/docker/{A}", f"/system.slice/docker-{A}.scope"
    stage.take(activity(1, [], {5: path}))
    assert named(stage.take(activity(2, [], {5: path, 6: path, 7: f"{path}/x"}))) == {path: A, f"{path}/x": A}
    assert named(stage.take(activity(3, [], {8: moved}))) == {path: A, f"{path}/x": A, moved: A}


def test_a_process_of_a_users_manager_has_its_owner(tmp_path):
    """With cgroup v1 the path itself tells what systemd gave to a user."""
    proc = FakeProc(tmp_path / "proc")
    proc.start(20, 500, f"{MANAGER}/docker-{A}.scope")
    frame = Stage(proc.path).take(activity(1, [(ROOT, 20, 500, 0, "sh")], {ROOT: "/"}))
    assert own_containers(frame) == {20: f"{A}@1000"}


def test_no_engine_is_asked_for_a_users_container(stage):
    """Root's engine would tell the name of the container whose id was taken."""
    stage.take(activity(1, [], {5: f"/given/docker-{A}.scope", 6: f"/docker/{B}"}))
    containers = stage._stage._directory.containers()
    assert len(containers) == 2
    assert [one for one, identity in containers.items() if may_name(identity)] == [B]


def test_the_real_tree_tells_owners(cgroup, tmp_path):
    """A directory of the kernel's cgroup2 that was given to a user, as systemd delegates it."""
    given = cgroup / "given"
    fake = given / f"docker-{A}.scope"
    fake.mkdir(parents=True)
    os.chown(given, UID, UID)
    try:
        path = f"/{cgroup.name}/given/docker-{A}.scope"
        proc = FakeProc(tmp_path / "proc", cgroup1=False, mount=cgroup.parent)
        frame = Stage(proc.path).take(activity(1, [], {fake.stat().st_ino: path}))
        assert named(frame) == {path: f"{A}@{UID}"}
    finally:
        fake.rmdir()
        given.rmdir()


def test_the_real_tree_tells_owners_of_the_new_kinds(cgroup, tmp_path):
    """Likewise for a system by name, an id alone, a job, and a unit."""
    given = cgroup / "given"
    names = {"lxc.payload.web1": "lxc-web1", A: A, "slurmstepd.scope/job_7": "slurm-7"}
    for name in names:
        (given / name).mkdir(parents=True)
    os.chown(given, UID, UID)
    paths = {(given / name).stat().st_ino: f"/{cgroup.name}/given/{name}" for name in names}
    try:
        proc = FakeProc(tmp_path / "proc", cgroup1=False, mount=cgroup.parent)
        frame = Stage(proc.path).take(activity(1, [], paths))
        assert named(frame) == {
            path: f"{container_id}@{UID}"
            for path, container_id in zip(paths.values(), names.values(), strict=True)
        }
    finally:
        for name in names:
            (given / name).rmdir()
        (given / "slurmstepd.scope").rmdir()
        given.rmdir()
