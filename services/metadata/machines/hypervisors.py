# SPDX-License-Identifier: Apache-2.0
"""The table of hypervisors: whose processes run a virtual machine each. Pure.

A process is one if its name, the program in its command line and its arguments all say so. The name comes
with each activity frame, so nearly every process is passed over without a look at its command line.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from . import cloud_hypervisor, firecracker, qemu
from .guest import Guest, program_of

_PRINTING = frozenset({"-h", "--help", "-V", "--version"})


@dataclass(frozen=True)
class Hypervisor:
    """One row. `comm`: how its process's name begins, of which the kernel keeps 15 bytes.

    `program`: its file name in the command line. `guest`: the machine that its arguments describe; None if
    they run none.
    """

    comm: str
    program: re.Pattern[str]
    guest: Callable[[Sequence[str]], Guest | None]


def _qemu_by_arguments(arguments: Sequence[str]) -> Guest | None:
    return qemu.guest(arguments) if qemu.has_machine_options(arguments) else None


# qemu-x86_64 (one program), qemu-img, qemu-nbd, qemu-ga and qemu-storage-daemon run no machine. NixOS wraps
# programs as .NAME-wrapped.
HYPERVISORS = (
    Hypervisor("qemu-system-", re.compile(r"qemu-system-[a-z0-9][\w.+-]*"), qemu.guest),
    Hypervisor(".qemu-system-", re.compile(r"\.?qemu-system-[a-z0-9][\w.+-]*"), qemu.guest),
    Hypervisor("qemu-kvm", re.compile(r"qemu-kvm[\w.+-]*"), _qemu_by_arguments),  # Fedora, RHEL
    Hypervisor("kvm", re.compile(r"kvm"), _qemu_by_arguments),  # Proxmox, Debian
    Hypervisor("cloud-hyperviso", re.compile(r"cloud-hypervisor[\w.+-]*"), cloud_hypervisor.guest),
    Hypervisor("firecracker", re.compile(r"firecracker(?:-v[0-9][\w.+-]*)?"), firecracker.guest),
)
_WHOLE = frozenset({"kvm", "qemu-kvm"})  # in full; after the others a version or an architecture may follow
_BEGINNINGS = tuple(one.comm for one in HYPERVISORS if one.comm not in _WHOLE)


def candidates(comms: Collection[str]) -> set[str]:
    """Names that a hypervisor's process has. For ten thousand: 0.2 to 2 ms, by how many differ."""
    return {comm for comm in {*comms} if comm in _WHOLE or comm.startswith(_BEGINNINGS)}


def recognised(comm: str, arguments: Sequence[str]) -> Guest | None:
    """The machine that a process runs; None if it runs none, or can't be known to."""
    program = program_of(arguments)
    for one in HYPERVISORS:
        if not (comm == one.comm if one.comm in _WHOLE else comm.startswith(one.comm)):
            continue
        # A wrapper of that name that a shell runs is another program still.
        is_program = one.program.fullmatch(program) is not None
        return one.guest(arguments) if is_program and _PRINTING.isdisjoint(arguments) else None
    return None
