# SPDX-License-Identifier: Apache-2.0
"""Devices in each frame: joined with the pods only when something has changed."""

import pytest

from services.metadata.cluster import devices
from services.metadata.cluster.devices import Devices
from services.metadata.cluster.held_devices import HeldDevice
from services.metadata.cluster.pod import Pod


class _Source:
    def __init__(self, *_arguments: object) -> None:
        self.held = (HeldDevice("web-1", "shop", "app", "nvidia.com/gpu", ("GPU-1",)),)

    def devices(self) -> tuple[HeldDevice, ...]:
        return self.held


@pytest.fixture
def joins(monkeypatch):
    """The number of joins so far, as the length of a list."""
    calls = []
    join = devices.held_table

    def counted(held, pods):
        calls.append(held)
        return join(held, pods)

    monkeypatch.setattr(devices, "held_table", counted)
    monkeypatch.setattr(devices, "_opened", _Source)
    return calls


def test_the_join_is_made_anew_only_when_something_has_changed(joins):
    """A node may have thousands of devices, and a frame comes each second."""
    found = Devices("/somewhere", lambda *_: None)
    known = {"u1": Pod("u1", "u1", "web-1", "shop")}
    for _frame in range(3):
        assert found.table(lambda: known).pod_uid == ["u1"]
    assert len(joins) == 1
    renewed = {"u2": Pod("u2", "u2", "web-1", "shop")}
    assert found.table(lambda: renewed).pod_uid == ["u2"]
    found._source.held = (HeldDevice("web-1", "shop", "app", "nvidia.com/gpu", ("GPU-1", "GPU-2")),)
    assert found.table(lambda: renewed).device_id == ["GPU-1", "GPU-2"]
    assert len(joins) == 3
    found._source.held = ()
    assert found.table(lambda: renewed).pod_uid == []
