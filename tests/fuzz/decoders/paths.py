# SPDX-License-Identifier: Apache-2.0
"""Paths of cgroups and /proc/PID/cgroup: any name whatever tells an identity, or none; never an error."""

import re
from dataclasses import astuple
from functools import partial
from pathlib import Path
from random import Random

from services.metadata.cgroup_path import CgroupIdentity, identify
from services.metadata.process_cgroup import cgroup2_tells, container_of, uses_cgroup1
from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated
from wattline.wire.names import are_safe, safe_name

FIXTURES = Path(__file__).parents[2] / "metadata"
IDS = {"A": "a1" * 32, "B": "b2" * 32}


def _paths(name: str) -> list[bytes]:
    lines = (FIXTURES / name).read_text(encoding="utf-8").splitlines()
    paths = [line.partition(" |")[0] for line in lines if line.startswith("/")]
    return [re.sub(r"\b[AB]\b", lambda found: IDS[found[0]], path).encode() for path in paths]


GOLDEN = [
    line.partition(" => ")[0].encode()
    for line in (FIXTURES / "golden_cgroup_paths.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("/")
]
PATHS = tuple(_paths("fixtures_cgroup_paths.txt") + _paths("fixtures_vm_paths.txt") + GOLDEN)
FILES = tuple(
    b"12:pids:%b\n4:cpu,cpuacct:%b\n1:name=systemd:%b\n0::%b\n" % (one, one, other, other)
    for one, other in zip(PATHS, reversed(PATHS), strict=True)
)
WORDS = (
    b"/", b":", b"//", b"\n", b"docker-", b".scope", b".slice", b"pod", b"-pod", b"libpod-", b"crio-", b"0::",
    b"cri-containerd-", b"machine-qemu-", rb"machine\x2dqemu\x2d", rb"\x2d", rb"\xff", b"qemu-1-",
    b".libvirt-qemu", b"lxc.payload.", b"/lxc/", b"job_1", b"slurmstepd.scope", b"nomad.slice", b"kata_",
    b"garden", b"systemd-nspawn@", b"/qemu.slice", b".service", b"/user@1000.service", b"run-u1",
    b"dbus-:1.2-", b" (deleted)", "\u202e".encode(), "\u0661".encode(), b"\xff", IDS["A"].encode(),
    b"0123456789abcdef" * 3,
)  # fmt: skip
_PATH_MAX = 4096  # bytes with the NUL; include/uapi/linux/limits.h
LONG = (
    b"/", b"a", b"/a", b"0", b"pod", b"-pod0123456789ab", b"machine-qemu-", b".libvirt-qemu", rb"\x2d", b":",
    b"/" + IDS["A"].encode(), b"qemu-1-", b"machine-qemu-1.scope", b"\n0::/",
    b"lxc.payload.", b"/lxc", b"job_1/", b"nomad.slice/", b"/run-u1.service", b"r0", b"-1",
    b"/user@1.service", b"8f1c2d3e-4a5b-4c6d-8e7f-0123456789ab.", b"systemd-nspawn@", b"/lxc.payload/x",
    b".slice/",
)  # fmt: skip


def make(chance: Random) -> bytes:
    """One more input."""
    return mutated(chance, PATHS if chance.random() < 0.6 else FILES, WORDS)


def check(data: Input) -> None:
    """Ids in the form in which they can be labels."""
    assert isinstance(data, bytes)
    for text in (data.decode("utf-8", "backslashreplace"), data.decode("utf-8", "surrogateescape")):
        uses_cgroup1(text)
        cgroup2_tells(text)
        for found in (identify(text), container_of(text)):
            _check(found)


def _check(found: CgroupIdentity) -> None:
    is_named = found.container_id.startswith(f"{found.runtime}-") or "." in found.container_id
    if not is_named and not re.fullmatch("(?:[0-9a-z-]{25,64})?", found.container_id):
        raise BrokenPromiseError(f"container id {found.container_id!r}")
    if found.unit and (found.container_id or found.pod_uid or found.vm_id):
        raise BrokenPromiseError(f"a unit of what is not the host's: {found}")
    if bool(found.container_id) != bool(found.runtime):
        raise BrokenPromiseError(f"a container without a runtime, or the other way round: {found}")
    if not re.fullmatch("(?:[0-9a-f-]{32,40})?", found.pod_uid):
        raise BrokenPromiseError(f"pod uid {found.pod_uid!r}")
    if not are_safe([safe_name(text) for text in astuple(found)]):
        raise BrokenPromiseError(f"a name that can't be made safe: {found}")


def long(repeated: bytes, ending: bytes = b"", size: int = _PATH_MAX - 1) -> bytes:
    """A path of so many bytes, which are as many as there may be."""
    return (b"/qemu" + repeated * size)[: size - len(ending)] + ending


def paths(_place: Path) -> Decoder:
    fixed = [partial(long, word, ending) for word in LONG for ending in (b"", b"x", b".scope", b".slice")]
    return Decoder(make, check, (), fixed)
