# SPDX-License-Identifier: Apache-2.0
"""What the probe gets right and what it loses, on the real kernel: eBPF and /proc through the same scenarios.

Needs root, hackbench, perf, runc. Usage: python -m bench.probe_truth [ebpf|procfs ...] [--quick]
Prints, per backend: closure per interval and load, a fork storm, a spin of one second, killed readers.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from services.probe.ebpf.mounts import BPFFS, have_mounted
from tests.load import SPIN, KernelAccount, in_cgroup, never_idle, steal_ns
from tests.machine.container import Container
from tests.probe.rows import cgroup_value, charged_ns, processes
from tests.probe.service import frame_after, start, stop
from tests.probe.test_cpu_time import BURST
from wattline import cgroup2
from wattline.wire.bus import Subscriber
from wattline.wire.frames import PROCESS_ENDED

MS = 1_000_000
SHELLS = 12_000
LOADS: dict[str, list[str]] = {
    "idle": ["sleep", "3600"],
    "pinned spin": ["taskset", "-c", "0", sys.executable, "-c", SPIN, "3600"],
    "hackbench": ["hackbench", "-g", "4", "-l", "100000000"],
    "pipe": ["perf", "bench", "sched", "pipe", "-l", "1000000000"],
    "fork storm": ["sh", "-c", "while :; do sh -c :; done"],
}


class Probe:
    """The service with one backend."""

    def __init__(self, run: Path, backend: str) -> None:
        self.run, self.pins, self.backend = run, BPFFS / f"wattline-bench-{run.name}", backend

    def start(self, interval_s: float = 0.1) -> None:
        flags = (
            "--interval-s",
            str(interval_s),
            "--probe.backend",
            self.backend,
            "--probe.process-rows",
            "65536",
        )
        # Apart from the storms, which have CPU 1 for themselves.
        self._process = start(self.run, self.pins, *flags, prefix=("taskset", "-c", "0"))
        self.now()

    def now(self) -> Any:
        """A frame sampled after this call."""
        return frame_after(self.run, time.monotonic_ns(), seconds=60)

    def frames(self, count: int) -> list[Any]:
        """So many frames in a row."""
        found: list[Any] = []
        with Subscriber(self.run, ["activity"]) as subscriber:
            while len(found) < count:
                subscriber.connect()
                subscriber.poll(100)
                found.extend(subscriber.receive())
        return found[:count]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        stop(self._process)


@contextmanager
def probe(backend: str, interval_s: float = 0.1) -> Iterator[Probe]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wlb-") as run:
        running = Probe(Path(run), backend)
        running.start(interval_s)
        try:
            yield running
        finally:
            running.stop()


@contextmanager
def cgroup() -> Iterator[Path]:
    mount = cgroup2.find_mount(Path("/proc"))
    assert mount is not None
    path = mount / f"wattline-bench-{time.monotonic_ns()}"
    path.mkdir()
    try:
        yield path
    finally:
        (path / "cgroup.kill").write_text("1", encoding="ascii")
        while (path / "cgroup.procs").read_text(encoding="ascii"):
            time.sleep(0.02)
        path.rmdir()


def closure(backend: str, interval_s: float, intervals: int) -> None:
    """|Σ cgroups + idle + lost − CPUs × elapsed| in each interval; the worst, and what is allowed there."""
    with probe(backend, interval_s) as running:
        for name, command in LOADS.items():
            with cgroup() as path, in_cgroup(path, command, stdout=subprocess.DEVNULL):
                time.sleep(0.3)
                frames = running.frames(intervals + 1)
            worst = max(pairwise(frames), key=lambda pair: abs(error_ns(*pair)))
            allowed_ns = MS + sum(len(frame.cpus) * frame.skew_ns for frame in worst)
            print(
                f"  closure, {interval_s:g} s, {name:12} worst of {intervals}: "
                f"{error_ns(*worst) / MS:8.4f} ms (allowed {allowed_ns / MS:.2f} ms, "
                f"skew {worst[1].skew_ns / MS:.2f} ms)",
                flush=True,
            )


def error_ns(before: Any, after: Any) -> int:
    elapsed_ns = len(after.cpus) * (after.mono_ns - before.mono_ns)
    return charged_ns(after) - charged_ns(before) - elapsed_ns


def storm(backend: str) -> None:
    """Short shells in a container for some ten seconds: time, and names."""
    script = f"i=0; while [ $i -lt {SHELLS} ]; do sh -c :; i=$((i+1)); done; echo done; sleep 600"
    with ExitStack() as stack:
        running = stack.enter_context(probe(backend, 1.0))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(never_idle(1))
        stolen_ns, begun = steal_ns(), time.monotonic()
        container = stack.enter_context(Container(directory, script, cpu=1))
        kernel = KernelAccount(container.cgroup, stolen_ns)
        assert container.line() == "done\n"
        seconds = time.monotonic() - begun
        time.sleep(3)
        frame = running.now()
        kernel_ns, ours_ns = kernel.used_ns(), cgroup_value(frame, container.cgroup)
        rows = [
            row
            for (cgroup_id, _pid), found in processes(frame).items()
            if cgroup_id == container.cgroup.stat().st_ino
            for row in found
        ]
        ended = [row for row in rows if row[2] & PROCESS_ENDED]
        print(
            f"  fork storm, {SHELLS / seconds:.0f} shells a second: row ÷ kernel's account "
            f"{ours_ns / kernel_ns:.5f} (of {kernel_ns / 1e9:.2f} s, "
            f"stolen {(steal_ns() - stolen_ns) / MS:.0f} ms); ended processes with a row "
            f"{len(ended)} of {SHELLS}, their time {sum(row[3] for row in ended) / kernel_ns:.3f} of it; "
            f"losses {frame.losses}",
            flush=True,
        )


def spin(backend: str) -> None:
    """A second of CPU time: how much of it is in the window in which it was spun."""
    with probe(backend) as running, cgroup() as path:
        command = ["taskset", "-c", "1", sys.executable, "-c", BURST, "1.0"]
        with in_cgroup(path, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.3)
            before, stolen_ns = running.now(), steal_ns()
            process.stdin.write(b"go\n")
            process.stdin.flush()
            process.stdout.readline()
            after = running.now()
            time.sleep(0.5)
            later = running.now()
        spun_ns, all_ns = (cgroup_value(frame, path.stat().st_ino) for frame in (after, later))
        before_ns = cgroup_value(before, path.stat().st_ino)
        named_ns = sum(
            row[3] for (_id, pid), rows in processes(after).items() if pid == process.pid for row in rows
        )
        print(
            f"  spin of 1 s: {(spun_ns - before_ns) / MS:.2f} ms in its window, "
            f"{(all_ns - spun_ns) / MS:.2f} ms later, stolen {(steal_ns() - stolen_ns) / MS:.0f} ms; "
            f"its process row {named_ns / spun_ns:.4f} of it",
            flush=True,
        )


def kills(backend: str, count: int) -> None:
    """Readers killed in a storm: the container's row against the kernel's account."""
    with ExitStack() as stack:
        running = stack.enter_context(probe(backend))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(never_idle(1))
        stolen_ns = steal_ns()
        container = stack.enter_context(Container(directory, "while :; do sh -c :; done", cpu=1))
        kernel = KernelAccount(container.cgroup, stolen_ns)
        epoch = running.now().epoch
        for _kill in range(count):
            time.sleep(0.3)
            running.kill()
            time.sleep(0.7)
            running.start()
        (container.cgroup / "cgroup.freeze").write_text("1", encoding="ascii")
        time.sleep(0.5)
        frame = running.now()
        kernel_ns = kernel.used_ns()
        print(
            f"  {count} readers killed: row ÷ kernel's account "
            f"{cgroup_value(frame, container.cgroup) / kernel_ns:.5f} (of {kernel_ns / 1e9:.2f} s, stolen "
            f"{(steal_ns() - stolen_ns) / MS:.0f} ms), "
            f"{'same epoch' if frame.epoch == epoch else 'a new epoch'}",
            flush=True,
        )


def main() -> None:
    quick = "--quick" in sys.argv
    have_mounted("bpf", BPFFS)
    for backend in [name for name in sys.argv[1:] if not name.startswith("-")] or ["ebpf", "procfs"]:
        print(f"{backend}:", flush=True)
        for interval_s, intervals in [(0.1, 20), (1.0, 5)] + ([] if quick else [(10.0, 2)]):
            closure(backend, interval_s, intervals)
        storm(backend)
        spin(backend)
        kills(backend, 5 if quick else 20)


if __name__ == "__main__":
    main()
