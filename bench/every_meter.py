# SPDX-License-Identifier: Apache-2.0
"""What all kinds of sources cost at once: each one's reading, the service, and workers beside the pipeline.

Needs root and FUSE. Usage: python -m bench.every_meter [SECONDS a case, default 30] [PERIOD_S, default 3]

Absolute times depend on the machine and its load: quote the ratios of one run. The meters are files of a FUSE
file system (tests/machine/every_meter.py) and a fake BMC (tests/power/redfish), each a process of its own.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.power.opening import module_of
from services.power.settings import PowerSettings
from services.power.source import Former
from services.power.sources import SOURCES, Way
from tests.machine.every_meter import EveryMeter, ipmi_bmc

from .weight import SERVICES, memory_mb

ROOT = Path(__file__).parent.parent
_FILES = ("rapl-sysfs", "rapl-perf", "rapl-msr", "hwmon", "cray-pm", "ipmi-dcmi", "acpi", "battery")
_READINGS, _ROUNDS = 20, 5
_NS_PER_S = 1_000_000_000
_READY_S = 6


@contextmanager
def bmc(directory: Path) -> Iterator[dict[str, str]]:
    """A fake BMC in a process of its own: its url, ca_file and credentials_file."""
    directory.mkdir()
    command = [sys.executable, "-m", "tests.power.redfish.bmc", "--directory", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate(b"exit\n")


def settings_for(machine: EveryMeter, ready: dict[str, str], period_s: float) -> PowerSettings:
    return PowerSettings(
        path_sysfs=machine.sysfs,
        path_dev=machine.sysfs / "dev",
        power_sources="+rapl-perf,+rapl-msr",
        redfish_url=ready["url"],
        redfish_ca_file=ready["ca_file"],
        redfish_credentials_file=ready["credentials_file"],
        redfish_period_s=period_s,
        redfish_timeout_s=20.0,
    )


def flags_of(settings: PowerSettings) -> list[str]:
    return [
        *("--path.sysfs", str(settings.path_sysfs), "--path.dev", str(settings.path_dev)),
        *("--power.sources", settings.power_sources, "--redfish.url", settings.redfish_url),
        *("--redfish.ca-file", settings.redfish_ca_file),
        *("--redfish.credentials-file", settings.redfish_credentials_file),
        *("--redfish.period-s", str(settings.redfish_period_s)),
    ]


def ns_of(read: Callable[[], object], readings: int = _READINGS) -> float:
    """CPU time of one call in this thread; the median of several rounds."""
    rounds = []
    for _round in range(_ROUNDS):
        begun_ns = time.thread_time_ns()
        for _reading in range(readings):
            read()
        rounds.append((time.thread_time_ns() - begun_ns) / readings)
    return statistics.median(rounds)


def readings(settings: PowerSettings) -> None:
    """Print the CPU time of one reading of each source, per zone, beside reading one file of the tree."""
    file = settings.path_sysfs / "class/powercap/intel-rapl:0/energy_uj"
    base_ns = ns_of(file.read_bytes)
    print(f"One reading of one zone:\n  {'source':22}{'zones':>6}{'µs':>9}{'of a file':>11}")
    print(f"  {'a file of the tree':22}{1:6}{base_ns / 1000:9.1f}{1:11.2f}")
    for entry in SOURCES:
        if entry.name not in (*_FILES, "redfish"):
            continue
        source = module_of(entry).open_source(settings, Former(), time.monotonic_ns())
        rows = 0
        for _look in range(3):
            time.sleep(0.2)
            rows = max(rows, len(source.read(time.monotonic_ns()).rows))
        if rows:
            count = 3 if entry.way is Way.WORKER else _READINGS
            took_ns = ns_of(lambda source=source: source.read(time.monotonic_ns()), count) / rows
            print(f"  {entry.name:22}{rows:6}{took_ns / 1000:9.1f}{took_ns / base_ns:11.2f}")
        else:
            print(f"  {entry.name:22}{rows:6}  {source.read(time.monotonic_ns()).state.reason:.60}")
        source.close()


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond; /proc/PID/stat has steps of 10 ms."""
    return sum(_thread_s(task) for task in Path(f"/proc/{pid}/task").iterdir())


def workers_s(pid: int) -> float:
    """CPU time of a process's threads but the first one and ZeroMQ's: those of workers."""
    return sum(
        _thread_s(task)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if int(task.name) != pid and not (task / "comm").read_text(encoding="utf-8").startswith("ZMQbg")
    )


def _thread_s(task: Path) -> float:
    return int((task / "schedstat").read_text(encoding="ascii").split()[0]) / _NS_PER_S


def power(place: Path, flags: list[str], period_s: float, seconds: float) -> tuple[float, ...]:
    """CPU s/min of the service and of its workers, RSS and PSS in MB."""
    place.mkdir()
    command = [sys.executable, "-m", "services.power", "--run", str(place), "--interval-s", str(period_s)]
    with subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(_READY_S + 2 * period_s)
            before_s, before_workers_s, begun_s = cpu_s(process.pid), workers_s(process.pid), time.monotonic()
            time.sleep(seconds)
            per_minute = 60 / (time.monotonic() - begun_s)
            used_s = (cpu_s(process.pid) - before_s) * per_minute
            threads_s = (workers_s(process.pid) - before_workers_s) * per_minute
            return used_s, threads_s, *memory_mb(process.pid)
        finally:
            process.terminate()


def pipeline(place: Path, period_s: float, seconds: float) -> float:
    """CPU s/min of the five services together, with this machine's own meters or the estimate."""
    place.mkdir(mode=0o755)
    environment = os.environ | {
        "WATTLINE_RUN": str(place),
        "WATTLINE_INTERVAL_S": str(period_s),
        "WATTLINE_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        "WATTLINE_PROBE_PIN_PATH": f"/sys/fs/bpf/wattline-bench-{os.getpid()}",
    }
    up = subprocess.Popen(
        [sys.executable, "-m", "wattline.cli", "up"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not all((place / name / "last").exists() for name in SERVICES):
            if up.poll() is not None:
                raise RuntimeError(f"wattline up ended with {up.returncode}")
            time.sleep(0.5)
        time.sleep(_READY_S + 2 * period_s)
        pids = [int((place / name / "pid").read_text(encoding="ascii")) for name in SERVICES]
        before_s, begun_s = sum(map(cpu_s, pids)), time.monotonic()
        time.sleep(seconds)
        return (sum(map(cpu_s, pids)) - before_s) * 60 / (time.monotonic() - begun_s)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)


def preload_ipmi() -> None:
    """Begin again with the library in place that answers IPMI, here and in the services that are started."""
    if "LD_PRELOAD" not in os.environ:
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wl-") as text:
            environment = os.environ | {"LD_PRELOAD": str(ipmi_bmc(Path(text)))}
            command = [sys.executable, "-m", "bench.every_meter", *sys.argv[1:]]
            sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


def main() -> None:
    preload_ipmi()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    period_s = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wl-") as text:
        place = Path(text)
        place.chmod(0o755)
        with EveryMeter(place / "tree") as machine, bmc(place / "bmc") as ready:
            settings = settings_for(machine, ready, period_s)
            readings(settings)
            sysfs = ["--path.sysfs", str(machine.sysfs), "--power.sources", "rapl-sysfs"]
            alone = power(place / "alone", sysfs, period_s, seconds)
            every = power(place / "every", flags_of(settings), period_s, seconds)
            all_s = pipeline(place / "run", period_s, seconds)
    print(f"\nThe service at {period_s:g} s, over {seconds:g} s, the BMC asked as often:")
    print(f"  {'sources':22}{'CPU s/min':>10}{'workers':>9}{'RSS MB':>8}{'PSS MB':>8}")
    for name, (used_s, threads_s, rss_mb, pss_mb) in {"rapl-sysfs alone": alone, "every kind": every}.items():
        print(f"  {name:22}{used_s:10.3f}{threads_s:9.3f}{rss_mb:8.1f}{pss_mb:8.1f}")
    print(f"  every kind / RAPL alone: {every[0] / alone[0]:.2f} of the CPU time")
    print(f"\nThe pipeline at {period_s:g} s: {all_s:.3f} CPU s/min; workers: {every[1] / all_s:.1%} of that")


if __name__ == "__main__":
    main()
