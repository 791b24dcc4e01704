# SPDX-License-Identifier: Apache-2.0
"""What reading costs: CPU time a tick, memory and frame size, by number of processes that wake every second.

Needs root. Usage: python -m bench.probe_reader [ebpf|procfs ...]

The processes are real; forked from one interpreter, so that ten thousand of them start at once. Ends with
what a sample costs on the CPUs themselves, from which the cost on larger machines follows.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.probe.ebpf.mounts import BPFFS, have_mounted
from tests.probe.service import frame_after, start, stop
from wattline.wire.codec import encode

COUNTS = (100, 1_000, 10_000)
TICKS = 10
CROWD = """
import os, time
for number in range({count} - 1):
    if not os.fork():
        break
time.sleep(number % 1000 / 1000)
while True:
    time.sleep(1)
"""


@contextmanager
def crowd(count: int) -> Iterator[None]:
    """So many processes that wake once a second."""
    leader = subprocess.Popen([sys.executable, "-c", CROWD.format(count=count)], start_new_session=True)
    try:
        while len(list(Path("/proc").glob("[0-9]*"))) < count:
            time.sleep(0.5)
        time.sleep(3)
        yield
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        time.sleep(2)


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    text = Path(f"/proc/{pid}/schedstat")
    if text.exists():
        return int(text.read_text(encoding="ascii").split()[0]) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def case(backend: str, count: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wlb-") as directory, crowd(count):
        run = Path(directory)
        pins = BPFFS / f"wattline-bench-{run.name}"
        flags = ("--interval-s", "1", "--probe.backend", backend)
        process = start(run, pins, *flags)
        try:
            frame_after(run, time.monotonic_ns(), seconds=60)
            time.sleep(3)
            frame = frame_after(run, time.monotonic_ns())
            before_s, seq = cpu_s(process.pid), frame.seq
            time.sleep(TICKS)
            frame = frame_after(run, time.monotonic_ns())
            ms = (cpu_s(process.pid) - before_s) / (frame.seq - seq) * 1e3
            print(
                f"  {backend:7}{len(frame.processes):8} rows: {ms:8.2f} ms of CPU a tick "
                f"({ms * 1e3 / len(frame.processes):6.2f} µs a row), {resident_mb(process.pid):6.1f} MB, "
                f"frame {len(encode(frame)):9,} bytes",
                flush=True,
            )
        finally:
            stop(process)


def flush() -> None:
    """What a flush takes of one CPU, idle and busy; and so of more CPUs."""
    from services.probe.ebpf.pinned import PinnedProgram  # noqa: PLC0415
    from tests.probe.conftest import load, program  # noqa: PLC0415

    pins = BPFFS / f"wattline-bench-flush-{os.getpid()}"
    wanted = program(process_rows=32768, cgroup_rows=8192)
    pinned = PinnedProgram(load(pins, wanted), wanted.features, wanted.cpus)
    try:
        for name, command in (("idle", None), ("hackbench", ["hackbench", "-g", "4", "-l", "100000000"])):
            load_process = (
                subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
                if command
                else None
            )
            time.sleep(0.5)
            pinned.flush()
            rounds = 200
            took_ns = 0
            for _round in range(rounds):
                time.sleep(0.005)
                begun = time.perf_counter_ns()
                pinned.flush()
                took_ns += time.perf_counter_ns() - begun
            per_cpu_us = took_ns / rounds / wanted.cpus / 1e3
            print(
                f"  flush, {name:9}: {per_cpu_us:6.1f} µs a CPU, one after the other; so "
                f"{per_cpu_us * 64 / 1e3:.2f} ms a sample with 64 CPUs, "
                f"{per_cpu_us * 256 / 1e3:.2f} ms with 256, which is also "
                f"their skew; of each CPU {per_cpu_us / 1e4:.4f} % at one sample a second",
                flush=True,
            )
            if load_process:
                os.killpg(load_process.pid, signal.SIGKILL)
                load_process.wait()
    finally:
        pinned.close()
        for path in (pins / wanted.pin_name).iterdir():
            path.unlink()
        (pins / wanted.pin_name).rmdir()
        pins.rmdir()


def main() -> None:
    have_mounted("bpf", BPFFS)
    for backend in sys.argv[1:] or ["ebpf", "procfs"]:
        for count in COUNTS:
            case(backend, count)
    flush()


if __name__ == "__main__":
    main()
