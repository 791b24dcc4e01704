# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cgroup_path import identify
from services.metadata.directory import Directory
from services.metadata.process_cgroup import container_of
from tests.calculator.world import World

from .test_cgroup_path import A, expand

CASES = [
    [expand(part.strip()) for part in line.split("|")]
    for line in Path(__file__).with_name("fixtures_vm_paths.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
SCOPE = r"/machine.slice/machine-qemu\x2d1\x2dweb.scope"


def vm_id(path):
    """The machine of a path."""
    return identify(path).vm_id


HERE, THERE = (2, 10, 100), (3, 11, 100)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_path_tells_its_machine(case):
    """Each of libvirt's layouts, with and without systemd, gives the guest by Kepler's name; others none."""
    path, machine, container_id = case
    assert vm_id(path) == machine
    assert (identify(path).vm_id, identify(path).container_id) == (machine, container_id)


def test_both_layouts_give_one_name():
    """A guest is called the same, whoever made its cgroup."""
    assert vm_id(SCOPE) == vm_id("/machine/qemu-1-web.libvirt-qemu") == "machine-qemu-1-web"


def escaped(name):
    """As systemd escapes a name."""
    plain = {*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_."}
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in name.encode())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=40))
def test_any_escaped_name_comes_back(name):
    """What systemd has escaped is what the guest is called, whatever it is called."""
    scope = f"machine-{escaped(f'qemu-1-{name}')}.scope"
    assert vm_id(f"/machine.slice/{scope}/vcpu0") == f"machine-qemu-1-{name}"


@given(st.text(max_size=300))
def test_any_path_is_answered(text):
    """A cgroup may have any name; none is an error."""
    for path in (text, f"/machine.slice/machine-qemu{text}.scope", f"/{text}.libvirt-qemu/{text}"):
        assert vm_id(path) == "" or vm_id(path).startswith("machine-qemu-")


def test_a_process_tells_its_machine():
    """cgroup v1's lines tell the guest, by themselves or beside a container."""
    assert container_of(f"4:cpu,cpuacct:{SCOPE}/emulator\n0::/\n").vm_id == "machine-qemu-1-web"
    assert container_of(f"11:devices:{SCOPE}\n4:cpu,cpuacct:/\n").vm_id == "machine-qemu-1-web"
    both = container_of(f"4:cpu:/docker/{A}\n1:name=systemd:{SCOPE}\n")
    assert (both.container_id, both.vm_id) == (A, "machine-qemu-1-web")
    assert container_of("4:cpu:/docker/x\n0::/\n").vm_id == ""


def learned(paths, own):
    """What is published of two cgroups with one process each. own: by process, its /proc/PID/cgroup."""
    world, directory = World(), Directory()
    world.run(1, {HERE: 0.1, THERE: 0.1})
    frame = world.activity()
    directory.see(frame)
    directory.learn(paths, paths, frame.mono_ns)
    for (_cgroup, pid, start), text in own.items():
        directory.answer((pid, start), container_of(text))
    return directory.cgroups(), directory.processes()


def test_cgroups_of_machines_are_named():
    """The column has each cgroup's machine, one in a container too; processes say nothing of their own."""
    cgroups, processes = learned({2: f"{SCOPE}/libvirt/vcpu0", 3: f"/docker/{A}"}, {})
    assert cgroups.vm_id == ["machine-qemu-1-web", ""]
    assert processes.vm_id == []
    cgroups, _ = learned({2: f"/docker/{A}/machine/qemu-1-b.libvirt-qemu", 3: "/"}, {})
    assert (cgroups.vm_id, cgroups.container_id) == (["machine-qemu-1-b", ""], [A, ""])


def test_processes_of_machines_are_named():
    """Where cgroup v1 alone tells the machine, its process does; and nothing is said of containers."""
    cgroups, processes = learned({2: "/", 3: "/"}, {HERE: f"4:cpu:{SCOPE}\n0::/\n", THERE: "4:cpu:/\n"})
    assert cgroups.vm_id == []
    assert processes.vm_id == ["machine-qemu-1-web", ""]
    assert processes.container_id == processes.pod_uid == []


def test_without_machines_the_columns_are_absent():
    """Where no row has a machine the column is empty, which is not the same as a machine without a name."""
    cgroups, processes = learned({2: "/", 3: f"/docker/{A}"}, {HERE: f"4:cpu:/docker/{A}\n"})
    assert cgroups.vm_id == processes.vm_id == []
    assert list(cgroups.cpu_request_m) == []
