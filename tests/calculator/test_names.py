# SPDX-License-Identifier: Apache-2.0
import msgspec
import pytest

from services.calculator.names import Names
from services.calculator.workloads import KERNEL, SYSTEM, UNKNOWN, Owner
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import MetadataContainers, MetadataProcesses

from .use import unlisted
from .world import CONTAINER, World

ROOT, DOCKER, UNTOLD = 1, 2, 77  # cgroups: the host's, a container's, and one that metadata doesn't know
OWN = "c" * 64


def names_from(processes):
    names, frame = Names(), World().metadata((ROOT, DOCKER))
    names.take_metadata(msgspec.structs.replace(frame, processes=processes))
    return names


def processes(**columns):
    return MetadataProcesses(
        pid=U32([10, 11, 12]),
        start_ticks=U64([100, 100, 100]),
        kernel=U8([0, 0, 1]),
        comm=["a", "b", "kthread"],
        **columns,
    )


OF_ELEVEN = {
    "container_id": ["", OWN, ""],
    "runtime": ["", "podman", ""],
    "pod_uid": ["", "uid-1", ""],
}


@pytest.mark.parametrize(
    ("key", "container_id"),
    [
        ((DOCKER, 10, 100), CONTAINER[DOCKER]),
        ((DOCKER, 11, 100), CONTAINER[DOCKER]),  # the cgroup's word comes first
        ((DOCKER, 12, 100), CONTAINER[DOCKER]),
        (unlisted(DOCKER), CONTAINER[DOCKER]),
        ((ROOT, 10, 100), SYSTEM),
        ((ROOT, 11, 100), OWN),
        ((ROOT, 11, 200), SYSTEM),  # another process with its pid
        ((ROOT, 12, 100), KERNEL),
        (unlisted(ROOT), SYSTEM),
        ((UNTOLD, 10, 100), UNKNOWN),
        ((UNTOLD, 11, 100), OWN),
    ],
)
def test_whose_it_is(key, container_id):
    """A cgroup's container, else the process's own, else the kernel, the system, or unknown."""
    assert owner(names_from(processes(**OF_ELEVEN)), key).container_id == container_id


def owner(names, key, *, is_kernel=False):
    return names.owner(*key, is_kernel=is_kernel)


def test_a_processes_own_container_is_a_container():
    """It has its runtime and pod like any other."""
    assert owner(names_from(processes(**OF_ELEVEN)), (ROOT, 11, 100)) == Owner(OWN, "podman", "uid-1")


def test_without_the_columns_nobody_has_one():
    """Where metadata has nothing to say of processes, cgroups alone decide."""
    assert owner(names_from(processes()), (ROOT, 11, 100)) == Owner(SYSTEM)


def test_a_runtime_that_is_not_told_is_empty():
    """Each of the optional columns may be absent by itself."""
    names = names_from(processes(container_id=["", OWN, ""]))
    assert owner(names, (ROOT, 11, 100)) == Owner(OWN)


def test_activity_knows_kernel_threads_itself():
    """A kernel thread that metadata has not told of yet is one by activity's flag, outside of containers."""
    names = names_from(processes())
    assert owner(names, (ROOT, 99, 1), is_kernel=True) == Owner(KERNEL)
    assert owner(names, (DOCKER, 99, 1), is_kernel=True).container_id == CONTAINER[DOCKER]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((ROOT, 10, 100), Owner(SYSTEM, vm_id="vm-process")),
        ((ROOT, 11, 100), Owner(OWN, "podman", "uid-1")),
        ((DOCKER, 10, 100), Owner(CONTAINER[DOCKER], "docker", "", "vm-cgroup")),
        (unlisted(DOCKER), Owner(CONTAINER[DOCKER], "docker", "", "vm-cgroup")),
    ],
)
def test_virtual_machines(key, expected):
    """A machine is known by its cgroup, else by its process; it may run in a container or outside of any."""
    frame = World().metadata((ROOT, DOCKER))
    told = processes(**OF_ELEVEN, vm_id=["vm-process", "", ""])
    cgroups = msgspec.structs.replace(frame.cgroups, vm_id=["", "vm-cgroup"])
    names = Names()
    names.take_metadata(msgspec.structs.replace(frame, processes=told, cgroups=cgroups))
    assert owner(names, key) == expected


def test_the_version_tells_changes():
    """It stays while metadata says the same, and changes when a cgroup is named anew."""
    world, names = World(), Names()
    names.take_metadata(world.metadata((ROOT, DOCKER)))
    before = names.version
    names.take_metadata(world.metadata((ROOT, DOCKER)))
    assert names.version == before
    names.take_metadata(world.metadata((ROOT, DOCKER, 4)))
    assert names.version != before


def test_what_containers_were_promised():
    """CPU requests are known by container; 0 is none."""
    frame = World().metadata((ROOT, DOCKER, 4))
    cgroups = msgspec.structs.replace(frame.cgroups, cpu_request_m=U32([0, 250, 0]))
    names = Names()
    names.take_metadata(msgspec.structs.replace(frame, cgroups=cgroups))
    assert names.cpu_request_m == {CONTAINER[DOCKER]: 250}


def test_what_containers_are_called():
    """Names are those of the newest frame, though nothing else in it has changed."""
    frame = World().metadata((ROOT, DOCKER, 4))
    names = Names()
    for told in ({}, {CONTAINER[DOCKER]: "web"}):
        table = MetadataContainers(container_id=[*told], container_name=[*told.values()])
        names.take_metadata(msgspec.structs.replace(frame, containers=table))
        found = {one: name.container_name for one, name in names.reported.containers.items()}
        assert found == told
