# SPDX-License-Identifier: Apache-2.0
"""Command lines of hypervisors, and of what only looks like one."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.machines.guest import NAME_CHARACTERS_MAX, Guest, arguments_of, name_of_socket
from services.metadata.machines.hypervisors import HYPERVISORS, candidates, recognised
from wattline.wire.names import are_safe

U, V = "c7a5fdbd-edaf-9455-926a-d65c16db1809", "11111111-2222-3333-4444-555555555555"
LINES = Path(__file__).with_name("fixtures_command_lines.txt").read_text(encoding="utf-8").splitlines()
OPTIONS = [
    *("-name", "-uuid", "-smbios", "-machine", "-m"),
    *("--id", "--api-sock", "--api-socket", "--platform", "--no-api", "--kernel"),
]
NONE = ("", "", "", "")


def expanded(text):
    """U and V as uuids, where they stand for one."""
    words = {"U": U, "V": V}
    for letter, uuid in words.items():
        for before in ("=", " ", "uuid "):
            for after in (" ", ",", "'", ""):
                ending = f"{before}{letter}{after}"
                if after or text.endswith(ending):
                    text = text.replace(ending, f"{before}{uuid}{after}")
    return words.get(text, text)


CASES = [
    [expanded(part.strip()) for part in line.split(" |")]
    for line in LINES
    if line and not line.startswith("#")
]


def facts(guest):
    """A guest as a line of the table has it."""
    return NONE if guest is None else (guest.hypervisor, guest.name, guest.uuid, guest.key)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}: {case[1]:.60}")
def test_a_command_line_tells_its_machine(case):
    """Name, uuid and key of each hypervisor's machine; programs that only look like one run none."""
    comm, line, *expected = case
    raw = b"".join(argument.encode() + b"\0" for argument in shlex.split(line))
    assert facts(recognised(comm, arguments_of(raw))) == tuple(expected)


def test_the_table_has_many_lines():
    """The comparison above is of something."""
    assert len(CASES) > 60
    assert len([case for case in CASES if case[2]]) > 30


def test_nearly_every_process_is_passed_over_by_its_name():
    """Only those that are called like a hypervisor have their command line read."""
    names = {case[0] for case in CASES if case[2]}
    others = {"bash", "qemu-img", "kvm-pit/4711", "kvmd", "qemu-kvmx", "jailer", "CPU 0/KVM", "", "qemu"}
    assert candidates([*names, *others, *names]) == names


@pytest.mark.parametrize(
    ("raw", "is_whole", "expected"),
    [
        (b"", True, []),
        (b"kvm\0", True, ["kvm"]),
        (b"kvm\0-m\0", True, ["kvm", "-m"]),
        (b"kvm\0\0-m\0", True, ["kvm", "", "-m"]),
        (b"kvm -m 1", True, ["kvm -m 1"]),  # it has overwritten them, as setproctitle does
        (b"kvm\0-name\0we", False, ["kvm", "-name"]),
        (b"kvm\0-name\0", False, ["kvm", "-name"]),
        (b"kvm\0-name\0\xff\n", True, ["kvm", "-name", "\\xff\n"]),
    ],
)
def test_bytes_become_arguments(raw, is_whole, expected):
    """Each ends with a NUL; one that may be cut is left out."""
    assert arguments_of(raw, is_whole=is_whole) == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/run/web.sock", "web"),
        ("web.socket", "web"),
        ("/run/vc/vm/0123/clh-api.sock", "0123"),
        ("/srv/jailer/firecracker/web/root/run/firecracker.socket", ""),  # seen from within it is /run
        ("/run/firecracker.socket", ""),
        ("/run/api.sock", ""),
        ("api.sock", ""),
        ("", ""),
        ("/", ""),
        ("/run/web\x1b[31m.sock", r"web\x1b[31m"),
    ],
)
def test_a_socket_gives_a_name(path, name):
    """The file's name; the directory's, if all are called the same; none, if that says nothing either."""
    assert name_of_socket(path) == name


@given(
    st.sampled_from(sorted({case[0] for case in CASES})),
    st.sampled_from(["qemu-system-x86_64", "kvm", "qemu-kvm", "cloud-hypervisor", "firecracker", "x"]),
    st.lists(
        st.one_of(
            st.sampled_from(OPTIONS),
            st.text(max_size=60),
            st.builds(
                "{}={}".format, st.sampled_from(["guest", "uuid", "type", "path"]), st.text(max_size=400)
            ),
        ),
        max_size=8,
    ),
)
def test_any_command_line_is_answered(comm, program, rest):
    """The answer is none, or harmless text that is short, and a key that ids can bear."""
    raw = b"\0".join(part.encode("utf-8", "surrogatepass") for part in [program, *rest]) + b"\0"
    guest = recognised(comm, arguments_of(raw))
    if guest is not None:
        assert are_safe([guest.name, guest.uuid, guest.key])
        assert len(guest.name) <= NAME_CHARACTERS_MAX
        assert set(guest.key) <= {*"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"}
        assert len(guest.key) <= 64


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_answered(raw, is_whole):
    """A process may write anything where its command line was."""
    recognised("qemu-system-x86", arguments_of(b"qemu-system-x86_64\0" + raw, is_whole=is_whole))
    recognised("firecracker", arguments_of(raw, is_whole=is_whole))


def test_a_long_command_line_takes_no_long_time():
    """Sixty-four kilobytes of commas, dashes or equals signs are read in one pass each."""
    for filling in (",", "=", "-", "a,", "guest=,", "-\0", "--id\0"):
        raw = b"qemu-system-x86_64\0-name\0" + (filling * (65536 // len(filling))).encode() + b"\0"
        assert isinstance(recognised("qemu-system-x86", arguments_of(raw)), Guest)


def test_the_page_names_each_hypervisor():
    """docs/virtual-machines.md says by what names processes are known."""
    page = (Path(__file__).parents[2] / "docs/virtual-machines.md").read_text(encoding="utf-8")
    for one in HYPERVISORS:
        assert f"`{one.comm.removeprefix('.')}" in page, one.comm
