# SPDX-License-Identifier: Apache-2.0
"""`--idle-policy requests` on requests that a real API server tells."""

import time
from itertools import accumulate, pairwise

import pytest

from wattline.wire.bus import Subscriber

from .named import container_name
from .node import uid
from .objects import container, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Requests as a manifest has them, and in thousandths of a CPU.
_REQUESTS = {"500m": 500, "0.25": 250, "1500u": 2, "": 0}
_FRAMES = 12
_IDLE_W = 20  # of the package, as the setting tells


def shares(energy_uj: int, weights: list[int]) -> list[int]:
    """Formulas 5 and 7 in docs/attribution.md: differences of ⌊E · W_k / W_n⌋."""
    bounds = [0, *(energy_uj * one // sum(weights) for one in accumulate(weights))]
    return [after - before for before, after in pairwise(bounds)]


def idle_of(energy) -> dict[str, int]:
    """The package's idle energy in µJ by container, in the frame's order."""
    (zone,) = (row for row, name in enumerate(energy.zones.zone) if name == "package")
    table = energy.containers
    found: dict[str, int] = {}
    for container_id, energy_uj in zip(table.container_id, table.idle_uj[zone], strict=True):
        found[container_id] = found.get(container_id, 0) + energy_uj
    return found


def test_idle_energy_goes_by_real_requests(node, kubepods, kubeconfig, wattline):
    """In each frame the idle energy since the one before is split by the law, to the microjoule."""
    with wattline(kubeconfig, node.name, idle_policy="requests") as watching:
        requests_m = {}
        for number, (request, thousandths) in enumerate(_REQUESTS.items()):
            pod = node.add_pod(f"asks-{number}", container("work", request))
            work = kubepods.run(uid(pod), "exec sleep 1000000", pod["status"]["qosClass"])
            node.tell(pod, [running("work", work.container_id)])
            requests_m[work.container_id] = thousandths
        for container_id in requests_m:
            watching.until(lambda series, one=container_id: container_name(series, one))
        _check_law(_frames(watching.pipeline.run), requests_m)


def _frames(run_directory):
    frames = []
    deadline_s = time.monotonic() + 60
    with Subscriber(run_directory, ["energy"]) as subscriber:
        while len(frames) < _FRAMES:
            assert time.monotonic() < deadline_s, len(frames)
            subscriber.poll(200)
            subscriber.connect()
            frames += subscriber.receive()
    return frames


def _check_law(frames, requests_m):
    ids = sorted(requests_m)
    weights = [requests_m[one] for one in ids]
    given_uj = 0
    for before, after in pairwise(frames):
        first, second = idle_of(before), idle_of(after)
        gained = {one: second[one] - first.get(one, 0) for one in second}
        whole_uj = sum(gained.values())
        given_uj += whole_uj
        assert [gained[one] for one in ids] == shares(whole_uj, weights), whole_uj
        assert whole_uj == sum(gained[one] for one in ids), "another one was given idle energy"
    seconds = (frames[-1].mono_ns - frames[0].mono_ns) / 1e9
    print(f"{len(frames) - 1} frames, {given_uj} µJ of idle energy in {seconds:.2f} s, each share the law's")
    assert abs(given_uj / 1e6 / seconds - _IDLE_W) < 0.2 * _IDLE_W
