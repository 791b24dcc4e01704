# SPDX-License-Identifier: Apache-2.0
"""The table of system calls against other lists of their numbers."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from wattline.confine import system_calls
from wattline.confine.arguments import NO_NETWORK, rules

EVERY = {
    **system_calls.SERVICE,
    **system_calls.EBPF,
    **system_calls.ABSENT,
    "seccomp": system_calls.SECCOMP,
}
GENERIC_HEADERS = (Path("/usr/include/asm-generic/unistd.h"),)
# BCC's own table, which it fills from auditd's where that is installed.
_ASK_BCC = """
import json
from bcc.syscall import syscalls
print(json.dumps({number: name.decode() for number, name in syscalls.items()}))
"""


def test_numbers_are_bccs():
    """Each number of x86_64 that BCC has a name for has the same name here."""
    answer = subprocess.run(["/usr/bin/python3", "-c", _ASK_BCC], capture_output=True, text=True, check=True)
    known = {int(number): name for number, name in json.loads(answer.stdout).items()}
    ours = system_calls.numbers("x86_64", EVERY)
    differing = {name: known[number] for name, number in ours.items() if known.get(number, name) != name}
    assert len(known) > 300
    assert differing == {}


@pytest.mark.parametrize("header", [path for path in GENERIC_HEADERS if path.exists()])
def test_numbers_are_those_of_the_generic_list(header):
    """Where linux-libc-dev is installed: each number of aarch64 is the kernel's, or newer than the header."""
    text = header.read_text(encoding="ascii")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    known = {name: int(number) for name, number in found if name != "arch_specific_syscall"}
    known["newfstatat"] = known.pop("fstatat")  # which the end of that header renames
    differing = {
        name: known.get(name)
        for name, number in system_calls.numbers("aarch64", EVERY).items()
        if known.get(name) != number and number <= max(known.values())
    }
    assert differing == {}


@pytest.mark.parametrize("machine", system_calls.ARCHITECTURES)
def test_no_number_stands_for_two(machine):
    """Each allowed name has a number of its own, and none lies above the newest."""
    numbers = system_calls.numbers(machine, EVERY)
    assert len(set(numbers.values())) == len(numbers)
    assert max(numbers.values()) <= system_calls.NEWEST


@pytest.mark.parametrize("machine", system_calls.ARCHITECTURES)
def test_what_the_newer_architecture_lacks_has_a_successor(machine):
    """Every call with rules for its arguments exists on each architecture, or its rules would be lost."""
    assert rules(NO_NETWORK, 1).keys() <= system_calls.numbers(machine, EVERY).keys()


def test_what_would_lead_out_is_left_out():
    """Running programs, tracing, mounting, changing users and namespaces, opening by handle, and the like."""
    out = (
        "execve execveat fork vfork clone3 ptrace process_vm_readv process_vm_writev pidfd_getfd mount "
        "umount2 pivot_root chroot unshare setns setuid setresuid setgroups capset bpf perf_event_open "
        "userfaultfd open_by_handle_at name_to_handle_at io_uring_setup keyctl add_key init_module "
        "finit_module kexec_load reboot sethostname chown fchown lchown fchownat mknod mknodat link linkat "
        "symlink symlinkat seccomp"
    )
    assert set(out.split()).isdisjoint(system_calls.SERVICE)


def test_an_architecture_without_a_table_is_named():
    """As riscv64 is."""
    with pytest.raises(KeyError, match="riscv64"):
        system_calls.numbers("riscv64", EVERY)
