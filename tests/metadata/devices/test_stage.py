# SPDX-License-Identifier: Apache-2.0
"""Metadata as a whole with a kubelet's socket: devices in its frames, and a source of their own."""

import subprocess
import sys
import threading

import pytest

from services.metadata import naming
from services.metadata.cluster.pod import Pod, PodContainer
from tests.metadata.machine import ROOT, FakeProc, Stage, activity
from wattline.wire.frames import SourceState

from .kubelet import Kubelet, container, plugin, pod, until

HELD = pod("train-0", "shop", container("main", plugin("nvidia.com/gpu", "GPU-1")))
POD = Pod("uid-1", "uid-1", "train-0", "shop", containers=(PodContainer("main", container_ids=("ab",)),))
# What a metadata that isn't asked to know devices has in memory.
LOADED = (
    "import sys, services.metadata.__main__ as main\n"
    "names = {'h2', 'services.metadata.cluster.grpc_unary', 'services.metadata.cluster.pod_resources'}\n"
    "print(sorted(names & {*sys.modules}))\n"
)


class Cluster:
    """A source of pods that has told of one."""

    def pods(self):
        return {POD.uid: POD}

    def has_told(self):
        return True

    def state(self):
        return SourceState(name="kubernetes", up=True)

    def close(self):
        return None


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc", mount=tmp_path)


def stage_asking(proc, path, monkeypatch):
    """The stage, with a cluster that is known."""
    monkeypatch.setattr(naming, "open_source", lambda *_args, **_options: Cluster())
    return Stage(proc.path, pod_resources_socket=str(path))


def by_name(frame):
    return {source.name: source for source in frame.sources}


def test_devices_are_in_the_frame(proc, tmp_path, monkeypatch):
    """By the pod's uid and the container's id, once the kubelet has answered; at the end its thread ends."""
    kubelet = Kubelet(tmp_path / "kubelet.sock")
    kubelet.answer = HELD
    kubelet.start()
    stage = stage_asking(proc, kubelet.path, monkeypatch)
    try:
        times = iter(range(1, 1000))
        until(lambda: by_name(stage.take(activity(next(times), [], {ROOT: "/"})))["pod_resources"].up)
        devices = stage.take(activity(next(times), [], {ROOT: "/"})).devices
    finally:
        stage.close()
        kubelet.stop()
    assert "pod-resources" not in {thread.name for thread in threading.enumerate()}
    assert (devices.pod_uid, devices.container_id) == (["uid-1"], ["ab"])
    assert (devices.resource, devices.device_id) == (["nvidia.com/gpu"], ["GPU-1"])


def test_a_kubelet_that_is_not_there(proc, tmp_path, monkeypatch):
    """The source says so, and everything else goes on."""
    stage = stage_asking(proc, tmp_path / "kubelet.sock", monkeypatch)
    try:
        times = iter(range(1, 1000))
        until(
            lambda: (
                "does a kubelet run here?"
                in by_name(stage.take(activity(next(times), [], {ROOT: "/"})))["pod_resources"].reason
            )
        )
        frame = stage.take(activity(next(times), [], {ROOT: "/"}))
    finally:
        stage.close()
    assert len(frame.devices) == 0
    assert by_name(frame)["cgroup2"].up
    assert by_name(frame)["kubernetes"].up
    assert "pod_resources_unreachable" in stage.errors


def test_nothing_is_asked_by_default(proc):
    """No source, no thread, and nothing more in memory."""
    stage = Stage(proc.path)
    frame = stage.take(activity(1, [], {ROOT: "/"}))
    assert "pod_resources" not in by_name(frame)
    assert len(frame.devices) == 0
    done = subprocess.run(
        [sys.executable, "-c", LOADED.replace(".__main__ as main", ".loop")], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done
