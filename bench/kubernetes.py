# SPDX-License-Identifier: Apache-2.0
"""What names from a Kubernetes cluster cost: metadata with 500 pods on its node, and one that asks none.

Against a real API server (tests/cluster, which builds it once). Needs root.
Usage: python -m bench.kubernetes [SECONDS a case, default 60]

Absolute times depend on the machine and its load: quote the ratios of one run. Both have the same cgroups.
"""

import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.account import Account, write_kubeconfig
from tests.cluster.kubepods import Kubepods
from tests.cluster.named import container_name
from tests.cluster.node import Node, uid
from tests.cluster.objects import container, running
from tests.cluster.programs import programs
from tests.cluster.server import Cluster
from tests.cluster.tcp_relay import TcpRelay
from tests.pipeline.pipeline import Pipeline

from .weight import cpu_s, memory_mb

_PODS, _NEW_PODS, _SETTLE_S = 500, 10, 15
_REQUEST = "100m"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with (
        tempfile.TemporaryDirectory(prefix=f"wl-{os.getpid()}-", dir="/var/tmp") as directory,
        Cluster(programs(), Path(directory)) as cluster,
        Node(cluster.admin) as node,
        Kubepods(Path(directory) / "pods") as kubepods,
    ):
        Path(directory).chmod(0o755)
        pods = filled(node, kubepods)
        print(f"{'':34}{'PSS MB':>8}{'RSS MB':>8}{'CPU s/min':>11}{'KB/min':>9}")
        with running_wattline(kubernetes="off") as pipeline:
            time.sleep(_SETTLE_S)
            without = case("no cluster is asked", pipeline, seconds)
        with TcpRelay(cluster.url) as relay:
            account = Account(cluster.admin, "wattline-bench")
            kubeconfig = Path(directory) / "kubeconfig"
            write_kubeconfig(kubeconfig, relay.url, cluster.ca_file, account.token())
            settings = {
                "kubernetes": "api",
                "kubernetes_kubeconfig": str(kubeconfig),
                "kubernetes_node": node.name,
            }
            with running_wattline(**settings) as pipeline:
                time.sleep(_SETTLE_S)
                print(f"  until it had settled: {relay.from_server_bytes / 1024:.0f} KB from the API")
                quiet = case(f"{_PODS} pods, quiet", pipeline, seconds, relay)
                with changing(node, pods[0]):
                    busy = case(f"{_PODS} pods, a change a second", pipeline, seconds, relay)
                for name, figures in (("quiet", quiet), ("a change a second", busy)):
                    ratios = [
                        with_it / without_it for with_it, without_it in zip(figures, without, strict=True)
                    ]
                    print(f"  {name}: {ratios[0]:.2f} × the PSS, {ratios[1]:.2f} × the CPU time")
                until_named(node, kubepods, pipeline)
            account.remove()


def filled(node: Node, kubepods: Kubepods) -> list[dict]:
    """Pods on the node, with two containers each, in which a process sleeps."""
    pods = []
    for number in range(_PODS):
        labels = {"app": f"app-{number % 20}", "pod-template-hash": "5d9c7b8f6"}
        owner = ("ReplicaSet", f"app-{number % 20}-5d9c7b8f6")
        pod = node.add_pod(
            f"app-{number}", container("work", _REQUEST), container("aside"), labels=labels, owner=owner
        )
        ids = [f"{number:063x}{one}" for one in range(2)]
        kubepods.sleepers([(uid(pod), one) for one in ids])
        node.tell(pod, [running("work", ids[0]), running("aside", ids[1])])
        pods.append(pod)
    return pods


@contextlib.contextmanager
def running_wattline(**settings: str) -> Iterator[Pipeline]:
    """Five services at their default period, with the estimator in place of a meter."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix=f"wl-{os.getpid()}-") as run:
        Path(run).chmod(0o755)
        pins = Path(f"/sys/fs/bpf/wattline-bench-{os.getpid()}")
        with Pipeline(Path(run), pins, **settings) as pipeline:
            pipeline.wait_ready()
            yield pipeline


def case(name: str, pipeline: Pipeline, seconds: float, relay: TcpRelay | None = None) -> tuple[float, float]:
    """(PSS in MB, CPU seconds a minute) of metadata, printed with what else there is."""
    pid = pipeline.pid("metadata")
    cpu_before_s, bytes_before, begun_s = cpu_s(pid), _bytes(relay), time.monotonic()
    time.sleep(seconds)
    minutes = (time.monotonic() - begun_s) / 60
    rss_mb, pss_mb = memory_mb(pid)
    used_s = (cpu_s(pid) - cpu_before_s) / minutes
    kilobytes = (_bytes(relay) - bytes_before) / 1024 / minutes
    print(f"{name:34}{pss_mb:8.1f}{rss_mb:8.1f}{used_s:11.2f}{kilobytes:9.1f}", flush=True)
    return pss_mb, used_s


def _bytes(relay: TcpRelay | None) -> int:
    return 0 if relay is None else relay.from_server_bytes


@contextlib.contextmanager
def changing(node: Node, pod: dict) -> Iterator[None]:
    """One change of a pod's status each second."""
    is_over = threading.Event()
    ids = [status["containerID"].partition("//")[2] for status in _statuses(node, pod)]

    def change() -> None:
        restarts = 0
        while not is_over.wait(1):
            restarts += 1
            node.tell(pod, [running("work", ids[0], restarts), running("aside", ids[1])])

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _statuses(node: Node, pod: dict) -> list[dict]:
    (found,) = (one for one in node.pods() if uid(one) == uid(pod))
    return found["status"]["containerStatuses"]


def until_named(node: Node, kubepods: Kubepods, pipeline: Pipeline) -> None:
    """From a pod's creation until its name is on /metrics: its container runs, and is told, at once."""
    took_s = []
    for number in range(_NEW_PODS):
        begun_s = time.monotonic()
        pod = node.add_pod(f"new-{number}", container("work", _REQUEST))
        work = kubepods.run(uid(pod), qos="Burstable")
        node.tell(pod, [running("work", work.container_id)])
        told_s = time.monotonic() - begun_s
        wanted = ("default", pod["metadata"]["name"], "work")
        pipeline.wait_until(lambda: container_name(pipeline.scrape(), work.container_id) == wanted)  # noqa: B023
        took_s.append(time.monotonic() - begun_s)
        work.kill()
        print(f"  a new pod: running after {told_s:.2f} s, its name on /metrics after {took_s[-1]:.2f} s")
    print(f"  median {statistics.median(took_s):.2f} s, most {max(took_s):.2f} s")


if __name__ == "__main__":
    main()
