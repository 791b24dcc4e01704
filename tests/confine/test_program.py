# SPDX-License-Identifier: Apache-2.0
"""The filter, run here by a small interpreter of classic BPF."""

import errno
import struct

import pytest

from wattline.confine.arguments import NETWORK, NO_NETWORK
from wattline.confine.program import ABSENT, ALLOW, AUDIT_ARCHITECTURE, DENY, program
from wattline.confine.seccomp import calls_of
from wattline.confine.system_calls import ARCHITECTURES, EBPF, NEWEST, PROBE, SERVICE, numbers

PID = 4711
_DATA = struct.Struct("<IIQ6Q")  # struct seccomp_data


def answer(machine, number, *arguments, families=NO_NETWORK, calls=SERVICE, architecture=None):
    """What the filter returns for a system call."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = _DATA.pack(number, architecture or AUDIT_ARCHITECTURE[machine], 0, *given)
    made = program(machine, calls_of(machine, calls, families, PID))
    accumulator, at = 0, 0
    for _step in range(len(made)):
        code, if_true, if_false, value = made[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x25:
                at += if_true if accumulator > value else if_false
            case _:
                raise AssertionError(code)
    raise AssertionError("no answer")


def number_of(machine, name):
    every = {
        "ptrace": (101, 117),
        "execve": (59, 221),
        "open_by_handle_at": (304, 265),
        "clone3": (435, 435),
        "read": (0, 63),
        "futex": (202, 98),
        "bpf": (321, 280),
        "clone": (56, 220),
        "connect": (42, 203),
        "socket": (41, 198),
        "kill": (62, 129),
        "tgkill": (234, 131),
        "prctl": (157, 167),
    }
    return numbers(machine, every)[name]


pytestmark = pytest.mark.parametrize("machine", ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read", ALLOW),
        ("futex", ALLOW),
        ("ptrace", DENY),
        ("execve", DENY),
        ("open_by_handle_at", DENY),
        ("bpf", DENY),
        ("clone3", ABSENT),
    ],
)
def test_by_name(machine, name, expected):
    """What is in the table passes, what isn't gets EPERM, clone3 seems to be missing."""
    assert answer(machine, number_of(machine, name)) == expected
    assert DENY & 0xFFFF == errno.EPERM
    assert ABSENT & 0xFFFF == errno.ENOSYS


def test_the_probe_has_calls_of_its_own(machine):
    """Those that read what its program counts; and it can't connect to any socket."""
    calls = {**PROBE, **EBPF}
    assert answer(machine, number_of(machine, "bpf"), calls=calls) == ALLOW
    assert answer(machine, number_of(machine, "connect"), calls=calls) == DENY
    assert answer(machine, number_of(machine, "connect")) == ALLOW


def test_newer_calls_seem_absent(machine):
    """So that the C library falls back, as on the kernel for which the table was made."""
    assert answer(machine, NEWEST + 1) == ABSENT


def test_another_architecture_is_denied(machine):
    """The same numbers mean other calls there (i386), or go round the table (x32)."""
    assert answer(machine, number_of(machine, "read"), architecture=0x40000003) == DENY
    assert answer(machine, 0x40000000 | number_of(machine, "read")) == DENY


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (0x003D0F00,), ALLOW),  # a thread, as glibc makes one
        ("clone", (0x01200011,), DENY),  # fork
        ("kill", (PID, 15), ALLOW),
        ("kill", (1, 0), ALLOW),  # whether it is there
        ("kill", (1, 15), DENY),
        ("kill", (2**32 - 1, 9), DENY),  # all processes of the user
        ("tgkill", (PID, PID + 1, 6), ALLOW),
        ("tgkill", (1, 1, 6), DENY),
        ("prctl", (15,), ALLOW),
        ("prctl", (22,), DENY),  # PR_SET_SECCOMP
        ("socket", (1,), ALLOW),
        ("socket", (2,), DENY),
        ("socket", (16,), DENY),
    ],
)
def test_by_arguments(machine, name, arguments, expected):
    """Threads, but no processes; signals to itself; sockets of the host's own only."""
    assert answer(machine, number_of(machine, name), *arguments) == expected


@pytest.mark.parametrize(
    ("family", "expected"), [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (17, DENY)]
)
def test_a_network_service_has_the_families_it_needs(machine, family, expected):
    """IPv4, IPv6 and the netlink of getaddrinfo; no raw packets (AF_PACKET)."""
    assert answer(machine, number_of(machine, "socket"), family, families=NETWORK) == expected
