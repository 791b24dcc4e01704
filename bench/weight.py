# SPDX-License-Identifier: Apache-2.0
"""What each stage costs: resident memory and CPU seconds a minute, at 1 s and 3 s, few and many processes.

Needs root. Usage: python -m bench.weight [SECONDS a case, default 30]

Memory is given as RSS (counts pages that the five share in each) and as PSS (shares them out).
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVICES = ("probe", "power", "metadata", "calculator", "exporter")
WAKING = "import time\nwhile True: time.sleep(1)"


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
    return kb["Rss"] / 1024, kb["Pss"] / 1024


def case(interval_s: float, waking: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="wl-") as run:
        Path(run).chmod(0o755)
        environment = os.environ | {
            "WATTLINE_RUN": run,
            "WATTLINE_INTERVAL_S": str(interval_s),
            "WATTLINE_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
            "WATTLINE_PROBE_PIN_PATH": f"/sys/fs/bpf/wattline-bench-{os.getpid()}",
        }
        # Forked from one interpreter: a thousand of them start at once and share their pages.
        crowd = (
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    f"import os\nfor _ in range({waking} - 1):\n if not os.fork(): break\n{WAKING}",
                ],
                start_new_session=True,
            )
            if waking
            else None
        )
        up = subprocess.Popen(
            [sys.executable, "-m", "wattline.cli", "up"], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(6 + 3 * interval_s)
            pids = {name: int((Path(run) / name / "pid").read_text(encoding="ascii")) for name in SERVICES}
            before, begun = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
            time.sleep(seconds)
            used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
            minutes = (time.monotonic() - begun) / 60
            processes = sum(path.name.isdecimal() for path in Path("/proc").iterdir())
            print(f"\n{processes} processes, interval {interval_s:g} s, over {minutes * 60:.0f} s:")
            print(f"  {'stage':12}{'RSS MB':>8}{'PSS MB':>8}{'CPU s/min':>11}")
            sums = [0.0, 0.0, 0.0]
            for name, pid in pids.items():
                figures = (*memory_mb(pid), used[name] / minutes)
                sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
                print(f"  {name:12}{figures[0]:8.1f}{figures[1]:8.1f}{figures[2]:11.2f}")
            print(f"  {'together':12}{sums[0]:8.1f}{sums[1]:8.1f}{sums[2]:11.2f}", flush=True)
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(30)
            if crowd:
                os.killpg(crowd.pid, signal.SIGKILL)
                crowd.wait()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    for waking in (0, 1000):
        for interval_s in (1.0, 3.0):
            case(interval_s, waking, seconds)


if __name__ == "__main__":
    main()
