# SPDX-License-Identifier: Apache-2.0
"""Softirqs and the page cache on the real kernel, charged to whom they happened to."""

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from services.probe.ebpf.pinned import PinnedProgram
from services.probe.ebpf.reader import EbpfReader
from tests.hygiene.names import own_name
from tests.load import in_cgroup
from tests.probe.conftest import PROCFS, SYSFS, program
from tests.probe.rows import cgroup_value

MIB = 1 << 20

# Sends datagrams to itself over loopback: the kernel sends and receives them in the sender's context.
TALK = """
import socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[1])):
    sender.sendto(b"x", receiver.getsockname())
    receiver.recv(1)
print("done", flush=True)
sys.stdin.read()
"""

READ = """
import os, sys
with open(sys.argv[1], "rb", buffering=0) as file:
    for _ in range(int(sys.argv[2])):
        os.pread(file.fileno(), 4096, 0)
print("done", flush=True)
sys.stdin.read()
"""


def kernel_softirqs():
    """The kernel's own count of each vector, all CPUs."""
    lines = Path("/proc/softirqs").read_text(encoding="ascii").splitlines()[1:]
    return {
        name.strip(): sum(map(int, counts.split()))
        for name, _, counts in (line.partition(":") for line in lines)
    }


def run(cgroup, script, *arguments):
    return in_cgroup(
        cgroup,
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_network_softirqs_are_charged_to_who_talks(reader, cgroup):
    """100,000 loopback datagrams are as many receive softirqs on the talker's row: more than 16 bits hold."""
    quiet = cgroup / "quiet"
    quiet.mkdir()
    with in_cgroup(quiet, ["sleep", "60"]), run(cgroup, TALK, 100_000) as talker:
        assert talker.stdout.readline() == b"done\n"
        sample = reader.sample()
        softirqs = cgroup_value(sample, cgroup, "net_rx_softirqs")
        others = cgroup_value(sample, quiet, "net_rx_softirqs")
        own_id = cgroup.stat().st_ino
    quiet.rmdir()
    assert 99_000 < softirqs < 101_000
    assert others < 10
    rows = sample.processes
    # It may have begun in our cgroup before it entered its own.
    own = [
        count
        for cgroup_id, pid, count in zip(rows.cgroup_id, rows.pid, rows.net_rx_softirqs, strict=True)
        if (cgroup_id, pid) == (own_id, talker.pid)
    ]
    assert own == [softirqs]


def test_reads_from_the_page_cache_are_counted(reader, cgroup, tmp_path):
    """A page read a thousand times is a thousand look-ups in the page cache."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 4096)
    with run(cgroup, READ, file, 0) as process:
        assert process.stdout.readline() == b"done\n"
        nothing = cgroup_value(reader.sample(), cgroup, "page_cache_hits")
    with run(cgroup, READ, file, 10_000) as process:
        assert process.stdout.readline() == b"done\n"
        hits = cgroup_value(reader.sample(), cgroup, "page_cache_hits") - nothing
    # Starting Python reads files too, each time about as many.
    assert abs(hits - nothing - 10_000) < 1_000


def test_writes_to_the_page_cache_are_counted(reader, cgroup):
    """A file of 16 MiB dirties 4096 pages (or fewer, larger folios), and says so on the writer's row."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix=f"{own_name()}-") as directory:
        path = f"{directory}/file"
        command = ["dd", "if=/dev/zero", f"of={path}", "bs=4096", f"count={16 * MIB // 4096}", "status=none"]
        with in_cgroup(cgroup, command) as process:
            assert process.wait(timeout=60) == 0
        assert cgroup_value(reader.sample(), cgroup, "page_cache_hits") > 4096


def test_each_vector_goes_to_its_own_column(reader, cgroup):
    """No column exceeds its vector's count in /proc/softirqs, and NET_RX's has nearly all of it.

    Both count the whole machine: each reading of the one lies between two of the other.
    """
    names = {"NET_TX": "net_tx_softirqs", "NET_RX": "net_rx_softirqs", "BLOCK": "block_softirqs"}
    kernel_before, before, kernel_begun = kernel_softirqs(), reader.sample(), kernel_softirqs()
    with run(cgroup, TALK, 10_000) as talker:
        assert talker.stdout.readline() == b"done\n"
        kernel_middle = kernel_softirqs()
        after, kernel_after = reader.sample(), kernel_softirqs()
    grown = {
        name: sum(getattr(after.cgroups, name)) - sum(getattr(before.cgroups, name))
        for name in names.values()
    }
    for vector, name in names.items():
        assert grown[name] <= kernel_after[vector] - kernel_before[vector] + 10
    assert grown["net_rx_softirqs"] > 0.9 * (kernel_middle["NET_RX"] - kernel_begun["NET_RX"]) > 9_000 * 0.9
    assert cgroup_value(after, cgroup, "net_tx_softirqs") < 1_000


NO_TRACEPOINT = """
import sys
from services.probe.ebpf import compile, layout, load
layout.OPTIONAL_RAW_TRACEPOINTS["on_page_read"] = "no_such_tracepoint"
if sys.argv.pop(1) == "allowed":
    # As where the kernel lets BCC attach the function by itself: here a tracepoint's link stands in for it.
    compile_it = compile.Compiled._compile
    def compile_and_attach(self):
        program = compile_it(self)
        program.load_func("on_page_read", self._bpf.RAW_TRACEPOINT)
        program.attach_raw_tracepoint(tp=b"mm_filemap_get_pages", fn_name=b"on_page_read")
        link = program.raw_tracepoint_fds[b"mm_filemap_get_pages"]
        program.kfunc_entry_fds[b"on_page_read"] = link
        return program
    compile.Compiled._compile = compile_and_attach
sys.exit(load.main())
"""


@pytest.mark.parametrize("fentry", ["allowed", "as it is here"])
def test_without_the_tracepoint_fentry_counts_pages_read_where_it_may(pin_path, fentry):
    """No tracepoint: fentry where the kernel lets it; else the rest works, and the source says so."""
    wanted = program()
    pin_path.mkdir()
    directory = pin_path / wanted.pin_name
    command = [sys.executable, "-c", NO_TRACEPOINT, fentry, str(directory)]
    wanted_json = msgspec.json.encode(wanted).decode()
    subprocess.run([*command, wanted_json], input=b"attach\n", capture_output=True, check=True, timeout=60)
    reader = EbpfReader(PinnedProgram(directory, wanted.features, wanted.cpus), SYSFS, PROCFS)
    (source,) = [source for source in reader.sample().sources if source.name == "page_cache"]
    reader.close()
    if fentry == "allowed":
        assert (directory / "link_on_page_read").exists()
    assert source.up == (directory / "link_on_page_read").exists()
    assert source.up or "pages read" in source.reason
