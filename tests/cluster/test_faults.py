# SPDX-License-Identifier: Apache-2.0
"""Energy and names while the API server does what it likes, and when it is not there at all."""

import time

import pytest

from .account import Account, write_kubeconfig
from .named import container_name, pod_labels, pod_uj, source_state
from .node import uid
from .objects import container, running
from .tcp_relay import TcpRelay

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

_OUTAGE_S = 20
_RECOVERY_S = 45  # the longest wait after failures is 30 s


class Scenes:
    """One Wattline, one node, and pods that are busy from their first moment on."""

    def __init__(self, node, pods, watching) -> None:
        self._node, self._pods = node, pods
        self.pipeline, self.watching = watching.pipeline, watching
        self._number = 0
        self._began_s = time.monotonic()

    def busy_pod(self):
        """(pod as the API has it, its container): it runs, and the API says so."""
        self._number += 1
        pod = self._node.add_pod(f"busy-{self._number}", container("work", "100m"))
        work = self._pods.run(uid(pod), qos="Burstable")
        self._node.tell(pod, [running("work", work.container_id)])
        return pod, work

    def wait_named(self, pod, work, seconds: float = _RECOVERY_S) -> float:
        """Until both levels bear the names; how long it took."""
        began_s = time.monotonic()
        name = pod["metadata"]["name"]
        self.watching.until(
            lambda series: container_name(series, work.container_id) == ("default", name, "work"), seconds
        )
        labels = self.watching.until(lambda series: pod_labels(series, uid(pod)))
        assert (labels["pod_name"], labels["namespace"]) == (name, "default")
        return time.monotonic() - began_s

    def say(self, words: str) -> None:
        print(f"{time.monotonic() - self._began_s:.0f} s: {words}")

    def wait_state(self, up: int, seconds: float = _RECOVERY_S) -> None:
        self.watching.until(lambda series: source_state(series) == up, seconds)

    def end(self, pod, work) -> None:
        """The container and the pod end."""
        work.kill()
        self._node.remove_pod(pod)


def test_names_and_sums_whatever_the_api_does(cluster, node, kubepods, wattline, readable_directory):
    """Not there at first, killed for 20 s, 403, a new token, 410: sums close, names come, nothing falls."""
    account = Account(cluster.admin, "wattline-faults")
    kubeconfig = readable_directory / "kubeconfig-faults"
    with TcpRelay(cluster.url) as relay:
        relay.refuse()
        write_kubeconfig(kubeconfig, relay.url, cluster.ca_file, account.token())
        with wattline(kubeconfig, node.name, kubernetes_name_grace_s="60") as watching:
            scenes = Scenes(node, kubepods, watching)
            _before_it_answers(scenes, relay)
            _killed(scenes, cluster)
            _refused(scenes, relay, account)
            _new_token_and_expired(scenes, cluster, relay, account, kubeconfig)
        scenes.say("Wattline has ended")
    account.remove()


def _before_it_answers(scenes, relay):
    pod, work = scenes.busy_pod()
    scenes.pipeline.wait_until(lambda: pod_uj(scenes.pipeline.run, uid(pod)) > 1_000_000)
    assert container_name(scenes.watching.series, work.container_id) is None, "shown before it has a name"
    assert source_state(scenes.watching.series) == 0
    relay.accept()
    seconds = scenes.wait_named(pod, work)
    scenes.wait_state(1)
    scenes.say(f"not there at first: named {seconds:.1f} s after the server could be reached")
    scenes.end(pod, work)


def _killed(scenes, cluster):
    cluster.kill()
    began_s = time.monotonic()
    try:
        scenes.wait_state(0)
        scrapes = scenes.watching.count
        time.sleep(max(0, began_s + _OUTAGE_S - time.monotonic()))
        assert scenes.watching.count > scrapes + 20
    finally:
        scenes.say("starting the server again")
        cluster.start()
    scenes.say("the server is ready")
    pod, work = scenes.busy_pod()
    seconds = scenes.wait_named(pod, work)
    scenes.say(f"killed for {_OUTAGE_S} s: a pod after it named in {seconds:.1f} s")
    scenes.end(pod, work)


def _refused(scenes, relay, account):
    scenes.say("rights taken")
    account.take_rights()
    relay.cut()
    scenes.wait_state(0)
    scenes.pipeline.wait_until(lambda: scenes.pipeline.said("lacks a right"), _RECOVERY_S)
    pod, work = scenes.busy_pod()
    scenes.pipeline.wait_until(lambda: pod_uj(scenes.pipeline.run, uid(pod)) > 0)
    scenes.say("rights given back")
    account.give_rights()
    seconds = scenes.wait_named(pod, work)
    scenes.wait_state(1)
    scenes.say(f"403: a pod from then named {seconds:.1f} s after the rights were back")
    scenes.end(pod, work)


def _new_token_and_expired(scenes, cluster, relay, account, kubeconfig):
    """While the server can't be reached the token ends, and the version to go on from is compacted away."""
    pod, work = scenes.busy_pod()
    scenes.wait_named(pod, work)
    since = cluster.admin.get("/api/v1/pods")["metadata"]["resourceVersion"]
    relay.refuse()
    scenes.end(pod, work)
    other, other_work = scenes.busy_pod()
    account.end_token()
    cluster.kill()  # it would remember for some seconds that the token was good
    cluster.compact()
    cluster.start()
    scenes.say("the server has been started again, without the token, and without what was before")
    (event,) = cluster.admin.watch("/api/v1/pods", resourceVersion=since, timeoutSeconds="3")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    relay.accept()
    scenes.pipeline.wait_until(lambda: scenes.pipeline.said("refuses the token"), _RECOVERY_S)
    scenes.wait_state(0)
    scenes.say("a new token")
    write_kubeconfig(kubeconfig, relay.url, cluster.ca_file, account.token())
    seconds = scenes.wait_named(other, other_work)
    scenes.wait_state(1)
    scenes.say(f"a new token, and 410: a pod from before named {seconds:.1f} s after the token")
    scenes.end(other, other_work)
