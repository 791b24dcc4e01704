# SPDX-License-Identifier: Apache-2.0
"""What meters cost: a reading of each kind, and CPU time and memory of power with more and more sources.

Usage: python -m bench.meters [SECONDS a case, default 20]

Absolute times depend on the machine and its load: quote the ratios of one run. The files are on the disk of
/dev/shm, which answers faster than a meter's driver.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from services.power.channel import Channel, Found, Kind, sampled
from services.power.metered import Metered
from services.power.psys import Psys
from services.power.rapl_sysfs import open_source as open_rapl
from services.power.settings import PowerSettings
from services.power.source import MEASURED, Former, Source, Zone, ZoneEnergy
from services.power.worker import Worker
from tests.power.world import RaplTree

from .weight import cpu_s, memory_mb

_ZONES, _READINGS, _ROUNDS = 32, 200, 5
_NS_PER_S = 1_000_000_000
ROOT = Path(__file__).parent.parent


def files(place: Path) -> list[Path]:
    place.mkdir()
    paths = [place / f"figure{number}" for number in range(_ZONES)]
    for path in paths:
        path.write_text("50000000\n", encoding="ascii")
    return paths


def metered(paths: list[Path], kind: Kind) -> Metered:
    channels = [
        Channel(
            Zone("platform", path.name, "bench", MEASURED),
            str(path),
            lambda path=path: sampled(lambda: int(path.read_bytes())),
            kind,
            bridge_ns=10 * _NS_PER_S,
        )
        for path in paths
    ]
    return Metered("bench", lambda: Found(channels), Former(), time.monotonic_ns(), look_ns=10**18)


def rapl(place: Path) -> Source:
    tree = RaplTree(place)
    for number in range(_ZONES):
        tree.zone(f"intel-rapl:{number}", f"package-{number}", energy_uj=number * 10**9)
    return open_rapl(PowerSettings(path_sysfs=place), Former(), time.monotonic_ns())


def worker(source: Source) -> Worker:
    made = Worker("bench", lambda _former, _now_ns: source, Former(), 3600 * _NS_PER_S)
    while not made.read(time.monotonic_ns()).rows:
        time.sleep(0.01)
    return made


def derived() -> Callable[[], object]:
    psys = Psys(Former())
    rows = [
        ZoneEnergy(Zone("psys", str(number), "rapl-sysfs", MEASURED), 1, 5, 7, 7) for number in range(_ZONES)
    ]

    def read() -> None:
        psys.on_rows(rows)
        psys.read(0)

    return read


def ns_a_zone(read: Callable[[], object]) -> float:
    """CPU time of one reading of one zone; the median of several rounds."""
    rounds = []
    for _round in range(_ROUNDS):
        begun_ns = time.thread_time_ns()
        for _reading in range(_READINGS):
            read()
        rounds.append((time.thread_time_ns() - begun_ns) / _READINGS / _ZONES)
    return statistics.median(rounds)


def kinds(place: Path) -> None:
    paths = files(place / "files")
    counters, gauges = metered(paths, Kind.COUNTER), metered(paths, Kind.GAUGE)
    zones = rapl(place / "sys")
    threaded = worker(metered(paths, Kind.GAUGE))

    def reading(source: Source) -> Callable[[], object]:
        return lambda: source.read(time.monotonic_ns())

    cases = {
        "a file, opened and read": lambda: [path.read_bytes() for path in paths],
        "RAPL zone in sysfs": reading(zones),
        "counter in a file": reading(counters),
        "gauge in a file": reading(gauges),
        "psys, from RAPL's row": derived(),
        "a worker's row, repeated": reading(threaded),
    }
    base_ns = 0.0
    print(f"One reading of one zone of {_ZONES}:\n  {'kind':28}{'µs':>8}{'of a file':>12}")
    for name, read in cases.items():
        took_ns = ns_a_zone(read)
        base_ns = base_ns or took_ns
        print(f"  {name:28}{took_ns / 1000:8.2f}{took_ns / base_ns:12.2f}")
    for source in (zones, counters, gauges, threaded):
        source.close()


def service(place: Path, seconds: float) -> None:
    tree = RaplTree(place / "node")
    for number in range(2):
        tree.zone(f"intel-rapl:{number}", f"package-{number}", energy_uj=10**9)
        tree.zone(f"intel-rapl:{number}/intel-rapl:{number}:0", "dram", energy_uj=10**9)
    boards = tree.sysfs / "class/acme"
    for number in range(_ZONES // 3):
        board = boards / f"board{number}"
        board.mkdir(parents=True)
        for name in ("energy_uj", "total_uj", "power_uw"):
            (board / name).write_text("50000000\n", encoding="ascii")
    os.mkfifo(tree.sysfs / "fifo")
    page = (ROOT / "docs/meters.md").read_text(encoding="utf-8")
    example = place / "acme.py"
    example.write_text(
        re.search(r"<!-- example -->\n```python\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8"
    )
    extra = "tests.power.extra_source"
    cases = {
        "RAPL, 4 zones": ["services.power"],
        f"and {_ZONES // 3 * 3} more zones": [extra, str(example), "tick"],
        "RAPL and a worker that hangs": [extra, str(ROOT / "tests/power/fifo_meter.py"), "worker"],
    }
    print(f"\nThe service at 10 readings a second, over {seconds:g} s:")
    print(f"  {'sources':32}{'CPU s/min':>10}{'of RAPL':>9}{'RSS MB':>8}{'PSS MB':>8}")
    base_s = 0.0
    for name, module in cases.items():
        used_s, rss_mb, pss_mb = running(module, place / "run", tree.sysfs, seconds)
        base_s = base_s or used_s
        figures = f"{used_s / seconds * 60:10.2f}{used_s / base_s:9.2f}{rss_mb:8.1f}{pss_mb:8.1f}"
        print(f"  {name:32}{figures}", flush=True)


def running(module: list[str], run: Path, sysfs: Path, seconds: float) -> tuple[float, float, float]:
    run.mkdir(exist_ok=True)
    command = [sys.executable, "-m", *module, "--run", str(run), "--path.sysfs", str(sysfs)]
    with subprocess.Popen([*command, "--interval-s", "0.1"], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(3)
            before_s = cpu_s(process.pid)
            time.sleep(seconds)
            return cpu_s(process.pid) - before_s, *memory_mb(process.pid)
        finally:
            process.terminate()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wl-") as place:
        kinds(Path(place))
        service(Path(place), seconds)


if __name__ == "__main__":
    main()
