# SPDX-License-Identifier: Apache-2.0
"""What names of pods cost metadata: memory, CPU time, and bytes from the cluster.

    python -m bench.pod_names [PODS [SECONDS]]

A confined process with metadata's rights asks a small server of ours (tests/metadata/cluster) over TLS on the
loopback, first with nothing changing, then with one pod changing each second.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.metadata.cluster.objects import full_pod
from tests.metadata.cluster.server import Cluster
from tests.metadata.cluster.world import World
from tests.power.redfish.authority import Authority

ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_IMPORTS = {
    "nothing": "",
    "TLS and HTTP": "import ssl, http.client",
    "what metadata imports of the package": "from services.metadata.cluster import package; package.pools()",
    "the whole package": "from kubernetes import client, config",
}


def main() -> None:
    """Print it."""
    pods, seconds = (int(one) for one in (*sys.argv[1:], *("500", "60")[len(sys.argv) - 1 :]))
    for what, code in _IMPORTS.items():
        print(f"{pss_mb_of(code):6.1f} MB of PSS: a Python with what services share, and {what}")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        world = World(Path(directory), Authority(Path(directory) / "authority"))
        for number in range(pods):
            world.cluster.put(full_pod(f"web-{number}"))
        sizes = [len(world.cluster.page("", 0, 0)) // pods]
        print(f"{pods} pods of {sizes[0]} bytes each; {seconds} s a measurement")
        kubelet = f"https://localhost:{world.cluster.port}"
        for what, arguments in (
            ("off", ["--kubernetes", "off"]),
            ("api", ["--kubernetes", "api"]),
            ("kubelet", ["--kubernetes", "kubelet", "--kubernetes.kubelet-address", kubelet]),
        ):
            if what == "kubelet":
                world.cluster.use_certificate(*world.cluster.authority.certificate("n7"))
            measure(what, world, arguments, seconds)
        world.close()


def pss_mb_of(code: str) -> float:
    report = "print([l.split()[1] for l in open('/proc/self/smaps_rollup') if l.startswith('Pss:')][0])"
    shared = "import wattline.service, services.metadata.loop"
    ran = subprocess.run(
        [sys.executable, "-c", f"{shared}\n{code}\n{report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout) / 1024


def measure(what: str, world: World, arguments: list[str], seconds: int) -> None:
    environment = {
        **os.environ,
        **world.environ,
        "ACCOUNT": str(world.account),
        "WATTLINE_RUN": str(world.directory),
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tests.metadata.cluster.stage", *arguments]
    sent = world.cluster.sent_bytes
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(6)
            started, sent_at_start = cpu_s(process.pid), world.cluster.sent_bytes - sent
            quiet = during(world.cluster, process.pid, seconds, changes=False)
            busy = during(world.cluster, process.pid, seconds, changes=True)
            peak = field_kb(process.pid, "status", "VmHWM:") / 1024
            pss = field_kb(process.pid, "smaps_rollup", "Pss:") / 1024
        finally:
            process.terminate()
    print(
        f"{what:8} start {started:.2f} s CPU, {sent_at_start / 1e6:.2f} MB in 6 s; "
        f"quiet {quiet[0]:.2f} s/min, {quiet[1] / 1e6:.3f} MB/min; "
        f"a change a second {busy[0]:.2f} s/min, {busy[1] / 1e6:.3f} MB/min; "
        f"PSS {pss:.1f} MB, largest RSS {peak:.1f} MB"
    )


def during(cluster: Cluster, pid: int, seconds: int, *, changes: bool) -> tuple[float, float]:
    """(CPU seconds, bytes) a minute."""
    cpu, sent = cpu_s(pid), cluster.sent_bytes
    for number in range(seconds):
        if changes:
            cluster.put(full_pod(f"web-{number % 10}") | {"status": {"phase": f"{number}"}})
        time.sleep(1)
    return (cpu_s(pid) - cpu) * 60 / seconds, (cluster.sent_bytes - sent) * 60 / seconds


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def field_kb(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
