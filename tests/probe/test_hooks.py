# SPDX-License-Identifier: Apache-2.0
"""Which kind of hook is used, and where the kernel's structures have their fields."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from services.probe.ebpf import layout
from services.probe.ebpf.btf import Btf
from services.probe.ebpf.hooks import classic_hooks, raw_hooks
from services.probe.ebpf.pinned import PinnedProgram
from services.probe.ebpf.reader import EbpfReader
from tests.load import in_cgroup
from tests.probe.conftest import PROCFS, SYSFS, program
from tests.probe.rows import cgroup_value, path_of, processes

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def btf(types: bytes, names: bytes) -> bytes:
    """A small BTF: little-endian records and strings, as Documentation/bpf/btf.rst has them."""
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    return header + types + names


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


NAMES = b"\0task_struct\0pid\0comm\0flag\0btf_trace_x\0int\0"
#          1             13   17    22    27           39
SMALL = btf(
    words(39, 1 << 24, 4, 32)  # 1: int
    + words(0, 4 << 24 | 2, 8, 17, 1, 0, 13, 1, 32)  # 2: unnamed, comm at 0, pid at 4 bytes
    + words(1, 1 << 31 | 4 << 24 | 2, 12, 22, 1, 3 << 24 | 5, 0, 2, 32)  # 3: task_struct: a bit field, 2 at 4
    + words(27, 8 << 24, 1),  # 4: a tracepoint
    NAMES,
)


def test_members_are_found_by_name():
    """Those of an unnamed structure within count as its own; a bit field has no place in bytes."""
    small = Btf(SMALL)
    assert small.offset("task_struct", "pid") == 8
    assert small.offset("task_struct", "comm") == 4
    assert small.tracepoints == {"x"}
    for structure, member in (("task_struct", "flag"), ("task_struct", "none"), ("none", "pid")):
        with pytest.raises(ValueError, match=f"no {structure}.{member}"):
            small.offset(structure, member)


@pytest.mark.parametrize("raw", [b"", SMALL[:30], b"\0" * 40, btf(words(0, 31 << 24, 0), b"\0")])
def test_what_is_no_btf_is_refused(raw):
    """Cut short, of another kind, or with a kind of type that isn't known: never a wrong place."""
    with pytest.raises(ValueError, match="BTF"):
        Btf(raw)


def test_damaged_btf_raises_one_error_only():
    """Whatever bytes are changed."""
    chance = random.Random(20)
    for _round in range(3000):
        damaged = bytearray(SMALL)
        for _change in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            Btf(bytes(damaged)).offset("task_struct", "pid")
        except ValueError:
            continue


def test_this_kernels_own_structures_are_found():
    """Every field that the program reads; then no classic hook is left, and sched_switch still comes last."""
    hooks = raw_hooks(Btf(VMLINUX.read_bytes()))
    assert hooks.classic == {}
    assert hooks.reads_structures
    assert list(hooks.raw)[-1] == "on_sched_switch"
    assert {**layout.RAW_TRACEPOINTS, "on_task_newtask": "task_newtask"}.items() <= hooks.raw.items()


def test_without_them_hooks_are_classic():
    """And those that this kernel hasn't got are left out."""
    hooks = classic_hooks({"cpu_frequency"})
    assert hooks.classic == layout.TRACEPOINTS
    assert hooks.raw == {"on_cpu_frequency": "cpu_frequency", **layout.RAW_TRACEPOINTS}


# As on a kernel without BTF; and as on one whose BTF is not its own, in which a field lies elsewhere.
_NO_BTF = """
from services.probe.ebpf import compile
from pathlib import Path
compile._VMLINUX_BTF = Path("kernel/btf/none")
"""
_WRONG = """
from services.probe.ebpf import layout
layout.STRUCTURES["{place}"] = {field}
"""
_LOAD = """
import sys
from services.probe.ebpf import load
sys.exit(load.main())
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_NO_BTF, ""),
        (_WRONG.format(place="TASK_PID", field=("task_struct", "prio")), "BTF does not fit"),
        (_WRONG.format(place="TASK_COMM", field=("task_struct", "pid")), "BTF does not fit"),
        (_WRONG.format(place="NODE_ID", field=("kernfs_node", "flags")), "BTF does not fit"),
        (_WRONG.format(place="ROOT_HIERARCHY", field=("cgroup_root", "nr_cgrps")), "BTF does not fit"),
        (_WRONG.format(place="TASK_PID", field=("task_struct", "no_such_field")), ""),
    ],
    ids=["no BTF", "pid elsewhere", "name elsewhere", "id elsewhere", "hierarchy elsewhere", "no such field"],
)
def test_classic_hooks_do_the_same(pin_path, cgroup, change, said):
    """Each wrong place is noticed before anything is attached; births, names and cgroups are told as ever."""
    wanted = program()
    pin_path.mkdir()
    directory = pin_path / wanted.pin_name
    loader = subprocess.run(
        [sys.executable, "-c", change + _LOAD, str(directory), msgspec.json.encode(wanted).decode()],
        input=b"attach\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert said in loader.stderr.decode()
    reader = EbpfReader(PinnedProgram(directory, wanted.features, wanted.cpus), SYSFS, PROCFS)
    below = cgroup / "born"
    below.mkdir()
    born = below.stat().st_ino
    with in_cgroup(below, ["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]) as process:
        process.wait(timeout=60)
    below.rmdir()
    sample = reader.sample()
    reader.close()
    assert path_of(sample, born)[1] is True
    assert path_of(sample, born)[0].endswith("/born")
    assert cgroup_value(sample, born) > 0
    assert processes(sample)[born, process.pid][0][0] == "sh"
