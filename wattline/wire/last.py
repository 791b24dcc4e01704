# SPDX-License-Identifier: Apache-2.0
"""A service's `last` frame from outside: whether to trust it, and how old it is.

Kept apart from all that knows frames, so that looking at an age, which is done every minute for each
container, costs little more than a Python.
"""

from typing import NamedTuple

from wattline.errors import Retry

from . import shared
from .packed import FrameError, naturals
from .rundir import ServiceDirectory


class Heartbeat(NamedTuple):
    """What a frame's header tells of its stage (wattline.health.Header)."""

    mono_ns: int
    interval_ns: int
    useful_mono_ns: int = 0
    failed_turns: int = 0


def read_trusted(directory: ServiceDirectory) -> bytes | None:
    """The last frame a service published, though it may be dead, as bytes; None if there is none to trust."""
    try:
        return None if directory.distrust() is not None else shared.read(directory.last)
    except (Retry, FileNotFoundError, NotADirectoryError, PermissionError, shared.Damaged):
        return None


def read_heartbeat(directory: ServiceDirectory) -> Heartbeat | None:
    """The heartbeat of that frame; None where there is none."""
    payload = read_trusted(directory)
    try:
        found = {} if payload is None else naturals(payload, Heartbeat._fields)
    except FrameError:
        return None
    return Heartbeat(**found) if {"mono_ns", "interval_ns"} <= found.keys() else None
