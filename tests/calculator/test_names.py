# SPDX-License-Identifier: Apache-2.0
import msgspec
import pytest

from services.calculator.books import KERNEL, SYSTEM, UNKNOWN, Books
from services.calculator.names import Names
from services.calculator.usage import unlisted
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import MetadataProcesses

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
def test_whose_account_it_is(key, container_id):
    """A cgroup's container, else the process's own, else the kernel, the system, or unknown."""
    books = Books()
    assert names_from(processes(**OF_ELEVEN)).container_of(key, books).container_id == container_id


def test_a_processes_own_container_is_a_container():
    """It has its runtime and pod like any other, and shares the account with cgroups of the same id."""
    books = Books()
    container = names_from(processes(**OF_ELEVEN)).container_of((ROOT, 11, 100), books)
    assert (container.runtime, container.pod_uid) == ("podman", "uid-1")
    assert books.container(OWN) is container


def test_without_the_columns_nobody_has_one():
    """Where metadata has nothing to say of processes, cgroups alone decide."""
    assert names_from(processes()).container_of((ROOT, 11, 100), Books()).container_id == SYSTEM


def test_a_runtime_that_is_not_told_is_empty():
    """Each of the optional columns may be absent by itself."""
    container = names_from(processes(container_id=["", OWN, ""])).container_of((ROOT, 11, 100), Books())
    assert (container.container_id, container.runtime, container.pod_uid) == (OWN, "", "")
