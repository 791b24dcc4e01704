# SPDX-License-Identifier: Apache-2.0
"""A service's `last` frame from outside: whether to trust it, and how old it is.

Kept apart from all that knows frames, so that looking at an age, which is done every minute for each
container, costs little more than a Python.
"""

from typing import NamedTuple

from wattline.errors import Retry

from . import shared
from .packed import FrameError, unpackb
from .rundir import ServiceDirectory


class Heartbeat(NamedTuple):
    """When a frame was sampled (CLOCK_MONOTONIC), and how often to expect one."""

    mono_ns: int
    interval_ns: int


def read_trusted(directory: ServiceDirectory) -> bytes | None:
    """The last frame a service published, though it may be dead, as bytes; None if there is none to trust."""
    try:
        return None if directory.distrust() is not None else shared.read(directory.last)
    except (Retry, FileNotFoundError, PermissionError, shared.Damaged):
        return None


def read_heartbeat(directory: ServiceDirectory) -> Heartbeat | None:
    """The heartbeat of that frame; None where there is none."""
    payload = read_trusted(directory)
    try:
        frame = None if payload is None else unpackb(payload)
    except FrameError:
        return None
    if not isinstance(frame, dict):
        return None
    mono_ns, interval_ns = frame.get("mono_ns"), frame.get("interval_ns")
    if not (isinstance(mono_ns, int) and isinstance(interval_ns, int)):
        return None
    return Heartbeat(mono_ns, interval_ns)
