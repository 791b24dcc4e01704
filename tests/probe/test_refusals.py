# SPDX-License-Identifier: Apache-2.0
"""The kernel refuses: the probe works without the call, or says which it was, why, and what to do."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from services.probe.ebpf import layout, perf_events
from services.probe.ebpf.kernel_facts import memory_cgroup, read_facts
from services.probe.ebpf.pinned import PinnedProgram
from services.probe.ebpf.reader import EbpfReader
from services.probe.ebpf.refusal import described
from tests.hygiene.names import own_name
from tests.load import in_cgroup
from tests.probe.conftest import PROCFS, SYSFS, load, program
from tests.probe.rows import cgroup_value
from tests.probe.service import frame_after, start, stop
from tests.probe.test_privileges import ONLY_TWO
from tests.refusing import command
from wattline.mounts import mount_details

_LIMIT_BYTES = 200 << 20  # the compiler fits, tables of a million rows don't


def test_perf_event_open_is_not_needed(run_directory, pin_path, cgroup):
    """As with perf_event_paranoid 4: eBPF works with CAP_BPF and CAP_PERFMON, births and names too."""
    prefix = (*command("perf_event_open", "EACCES"), *ONLY_TWO)
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", prefix=prefix)
    frame_after(run_directory, time.monotonic_ns())
    below = cgroup / "born"
    below.mkdir()
    born = below.stat().st_ino
    with in_cgroup(below, ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]) as process:
        process.wait(timeout=60)
    below.rmdir()
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    assert frame.source == "ebpf"
    assert probe.returncode == 0
    assert frame.losses["births"] == frame.losses["cgroup_paths"] == 0
    paths = dict(zip(frame.paths.cgroup_id, frame.paths.path, strict=True))
    assert paths[born].endswith(f"/{cgroup.name}/born")
    names = dict(zip(frame.processes.pid, frame.processes.comm, strict=True))
    assert names[process.pid] == "sh"
    assert cgroup_value(frame, born) > 10_000_000
    (said,) = (line for line in output.splitlines() if " no_counters " in line)
    (source,) = (source for source in frame.sources if source.name == "counters")
    assert not source.up
    for text in (said, source.reason):
        assert "perf_event_open(2) of the counter cycles: Permission denied (EACCES)" in text
        assert "seccomp" in text


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_refused_bpf_call_is_named(run_directory, pin_path, error):
    """As by a container engine's filter: the call, what it was for, the cause, the cure; then /proc."""
    probe = start(run_directory, pin_path, prefix=(*command("bpf", error), *ONLY_TWO))
    frame = frame_after(run_directory, time.monotonic_ns())
    output = stop(probe)
    (warning,) = (line for line in output.splitlines() if " no_ebpf " in line)
    for words in (
        "the kernel refused bpf(2) BPF_MAP_CREATE of table ",
        f"({error})",
        "a seccomp filter may refuse the call",
        "--security-opt seccomp=",
        "capabilities CAP_BPF CAP_PERFMON,",
        "perf_event_paranoid ",
        "seccomp filter yes",
    ):
        assert words in warning
    assert "it lacks" not in warning
    assert frame.source == "procfs"


@pytest.fixture
def memory_limited():
    """A command that runs another one in a real memory cgroup, of whichever hierarchy has the controller."""
    listed = list(mount_details())
    first = next((one for one in listed if one.kind == "cgroup" and "memory" in one.options), None)
    mount = first or next(one for one in listed if one.kind == "cgroup2")
    place = mount.place / own_name()
    if mount.kind == "cgroup2":
        (mount.place / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    place.mkdir()
    limit = "memory.max" if mount.kind == "cgroup2" else "memory.limit_in_bytes"
    (place / limit).write_text(str(_LIMIT_BYTES), encoding="ascii")
    yield ("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(place))
    place.rmdir()


def test_without_memory_for_tables_the_limit_is_named(run_directory, pin_path, memory_limited):
    """In a real memory cgroup: which table, whose limit, how much of it is used, and what to do."""
    rows = ("--probe.process-rows", str(1 << 20), "--probe.cgroup-rows", str(1 << 20))
    probe = start(run_directory, pin_path, "--probe.backend", "ebpf", *rows, prefix=memory_limited)
    output, _errors = probe.communicate(timeout=60)
    assert probe.returncode == 1
    (line,) = (line for line in output.splitlines() if " fatal " in line)
    for words in (
        "the kernel refused bpf(2) BPF_MAP_CREATE of table ",
        "Cannot allocate memory (ENOMEM)",
        "its memory cgroup has no room for the tables: raise the limit",
        "--probe.process-rows",
        f"memory cgroup /{Path(memory_limited[-1]).name}, ",
        f" of {_LIMIT_BYTES >> 20} MiB used",
    ):
        assert words in line
    assert not pin_path.exists()


def test_the_facts_are_those_of_the_process():
    """As the kernel tells them by other ways, or as its files do."""
    facts = read_facts()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    assert f"Seccomp:\t{2 * facts.has_seccomp_filter}" in status
    assert facts.perf_event_paranoid == int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    assert ".".join(map(str, facts.kernel)) in os.uname().release
    assert not facts.in_user_namespace
    code = "from services.probe.ebpf.kernel_facts import read_facts; print(read_facts().in_user_namespace)"
    inside = subprocess.run(
        ["unshare", "--user", "--map-root-user", "python3", "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert inside.stdout == "True\n", inside.stderr


def test_a_memory_cgroup_is_found_in_either_hierarchy(tmp_path):
    """The one with the least room, among our own and those above; without a limit there is none."""
    (tmp_path / "self").mkdir()
    mounted = tmp_path / "cg"
    (mounted / "a/b").mkdir(parents=True)
    for path, limit, used in (("a", "1000", "900"), ("a/b", "300", "100")):
        (mounted / path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
        (mounted / path / "memory.current").write_text(f"{used}\n", encoding="ascii")
    line = f"30 25 0:26 / {mounted} rw - cgroup2  rw\n".encode()
    (tmp_path / "self/mountinfo").write_bytes(line)
    (tmp_path / "self/cgroup").write_text("3:cpu:/x\n0::/a/b\n", encoding="ascii")
    found = memory_cgroup(tmp_path)
    assert (found.path, found.limit_bytes, found.used_bytes) == ("/a", 1000, 900)
    (mounted / "a/memory.max").write_text("max\n", encoding="ascii")
    assert memory_cgroup(tmp_path).path == "/a/b"
    (mounted / "a/b/memory.max").write_text("9" * 5000, encoding="ascii")
    assert memory_cgroup(tmp_path) is None


def test_counters_refused_for_a_cpu_that_comes_later_are_said(pin_path, monkeypatch):
    """The sample still comes; the source is down while they are refused, and up once they are not."""
    wanted = program(features=layout.Features(counters=("cpu_clock",)))
    pinned = PinnedProgram(load(pin_path, wanted), wanted.features, wanted.cpus)
    reader = EbpfReader(pinned, SYSFS, PROCFS)

    def counters():
        return next(source for source in reader.sample().sources if source.name == "counters")

    assert counters().up
    give = perf_events.give_counters

    def refuse(*_arguments):
        raise PermissionError(13, "refused")

    monkeypatch.setattr(perf_events, "give_counters", refuse)
    reader._online.discard(1)
    monkeypatch.setattr(reader.program, "have_counters", lambda _cpu: perf_events.give_counters())
    for _sample in range(2):
        assert not counters().up
        assert "perf_event_open(2) of counters of CPU 1: Permission denied (EACCES)" in counters().reason
    monkeypatch.undo()
    assert give is perf_events.give_counters
    assert counters().up
    reader.close()


@pytest.fixture
def reader(pin_path):
    """A reader of a program with a counter that the kernel gives to anybody."""
    wanted = program(features=layout.Features(counters=("cpu_clock",)))
    pinned = PinnedProgram(load(pin_path, wanted), wanted.features, wanted.cpus)
    reader = EbpfReader(pinned, SYSFS, PROCFS)
    yield reader
    reader.close()


def test_a_refused_cpu_that_goes_away_takes_its_refusal_along(reader, monkeypatch):
    """Nothing lacks counters then, so the source is up."""
    reader.sample()
    online = frozenset(reader._online)
    reader._online.discard(1)
    with monkeypatch.context() as patch:
        patch.setattr(reader.program, "have_counters", _refuse)
        assert not _counters(reader).up
    monkeypatch.setattr("services.probe.ebpf.cpus.online", lambda _sysfs: set(online - {1}))
    assert _counters(reader).up
    assert not _counters(reader).reason


def test_the_facts_of_refused_cpus_are_read_once(reader, monkeypatch):
    """Not for each CPU and sample: only when other CPUs are refused than before."""
    reads = []
    monkeypatch.setattr("services.probe.ebpf.reader.read_facts", lambda: reads.append(1) or read_facts())
    monkeypatch.setattr(reader.program, "have_counters", _refuse)
    online = sorted(os.sched_getaffinity(0))
    for _sample in range(3):
        source = _counters(reader)
    assert not source.up
    assert f"counters of CPU {online[0]} and {len(online) - 1} more: " in source.reason
    assert len(reads) == 1
    monkeypatch.setattr("services.probe.ebpf.cpus.online", lambda _sysfs: {online[0]})
    for _sample in range(3):
        source = _counters(reader)
    assert f"counters of CPU {online[0]}: " in source.reason
    assert len(reads) == 2


def _refuse(*_arguments):
    raise PermissionError(13, "refused")


def _counters(reader):
    return next(source for source in reader.sample().sources if source.name == "counters")


@pytest.mark.parametrize(
    ("text", "value"), [("-1", -1), ("4", 4), ("--1", None), ("-", None), ("", None), ("1" * 30, None)]
)
def test_a_negative_perf_event_paranoid_keeps_its_sign(tmp_path, text, value):
    """-1 permits everything, 1 does not; what is no number is no fact."""
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/perf_event_paranoid").write_text(f"{text}\n", encoding="ascii")
    facts = read_facts(tmp_path)
    assert facts.perf_event_paranoid == value
    assert f"perf_event_paranoid {'unknown' if value is None else value}," in described(facts)
