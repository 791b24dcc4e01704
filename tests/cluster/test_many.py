# SPDX-License-Identifier: Apache-2.0
"""Many pods: forty that live two seconds each, and five hundred on one node."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pipeline.books import left_over_ratio
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .named import ENERGY, container_name, joules, pod_labels
from .node import uid
from .objects import container, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

_SHORT_PODS, _SHORT_S = 40, 2
_AT_ONCE = 4
_MANY_PODS = 500


# Busy for some seconds by the clock, then at its end.
_SHORT = f"""
end=$(($(cut -d. -f1 /proc/uptime) + {_SHORT_S}))
while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done
"""


def test_forty_pods_of_two_seconds(node, kubepods, kubeconfig, wattline):
    """All of their energy is on named or uid'd pods: a pod's joules are its container's, none is lost."""
    lived: list[tuple[dict, str]] = []

    def live(number: int) -> None:
        # A kubelet sees a container's start within a second, and says so then.
        pod = node.add_pod(f"short-{number}", container("work"))
        work = kubepods.run(uid(pod), _SHORT)
        lived.append((pod, work.container_id))
        time.sleep(0.5)
        node.tell(pod, [running("work", work.container_id)])
        work.wait()
        node.remove_pod(pod)

    with wattline(kubeconfig, node.name) as watching:
        for first in range(0, _SHORT_PODS, _AT_ONCE):
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for done in [pool.submit(live, number) for number in range(first, first + _AT_ONCE)]:
                    done.result()
        ids = {container_id for _pod, container_id in lived}
        watching.until(
            lambda series: ids <= {one.labels["container_id"] for one in series if one.name == ENERGY}
        )
        _check_short(watching.next(), lived, watching.pipeline.run)


def _check_short(series, lived, run_directory):
    names = [container_name(series, container_id) for _pod, container_id in lived]
    named = sum(1 for namespace, pod, name in names if (namespace, name) == ("default", "work") and pod)
    of_pods = [
        joules(series, "wattline_pod_joules_total", pod_uid=uid(pod), zone="package") for pod, _id in lived
    ]
    of_containers = [joules(series, ENERGY, container_id=one) for _pod, one in lived]
    print(
        f"{_SHORT_PODS} pods of {_SHORT_S} s: {named} containers named, "
        f"{sum(1 for pod, _id in lived if (pod_labels(series, uid(pod)) or {}).get('pod_name'))} pods named; "
        f"{sum(of_pods)} J on their uids, least {min(of_pods)} J, "
        f"{left_over_ratio(series, 'package'):.6f} of the node's energy left over"
    )
    assert min(of_pods) > 0
    assert of_pods == of_containers, "a pod is its containers"
    for (pod, container_id), name in zip(lived, names, strict=True):
        assert name in (("default", pod["metadata"]["name"], "work"), ("", "", "")), container_id
    assert named >= 0.9 * _SHORT_PODS
    # Nothing of theirs is with the host: who ran in a container is in it.
    energy = read_last(ServiceDirectory(run_directory, "calculator"))
    known = set(energy.containers.container_id)
    assert {container_id for _pod, container_id in lived} <= known


def test_five_hundred_pods_on_the_node(node, kubepods, kubeconfig, wattline):
    """Every one is known by name; a few of them work, and bear it; one that is added is named in seconds."""
    made = [node.add_pod(f"many-{number}", container("work", "10m")) for number in range(_MANY_PODS)]
    ids = [(uid(pod), f"{number:064x}") for number, pod in enumerate(made)]
    for pod, (_uid, container_id) in zip(made, ids, strict=True):
        node.tell(pod, [running("work", container_id)])
    kubepods.sleepers(ids)
    with wattline(kubeconfig, node.name) as watching:

        def all_named():
            frame = read_last(ServiceDirectory(watching.pipeline.run, "metadata"))
            return sum(1 for name in frame.pods.pod_name if name.startswith("many-")) == _MANY_PODS

        watching.pipeline.wait_until(all_named)
        works = [(pod, kubepods.run(uid(pod), qos="Burstable")) for pod in made[:3]]
        for pod, work in works:
            node.tell(pod, [running("work", work.container_id)])
        began_s = time.monotonic()
        pod = node.add_pod("one-more")
        work = kubepods.run(uid(pod))
        node.tell(pod, [running("work", work.container_id)])
        for one, its_work in (*works, (pod, work)):
            watching.until(
                lambda series, one=one, its_work=its_work: (
                    container_name(series, its_work.container_id)
                    == ("default", one["metadata"]["name"], "work")
                )
            )
        print(f"one more than {_MANY_PODS}: named {time.monotonic() - began_s:.1f} s after it was made")
