# SPDX-License-Identifier: Apache-2.0
"""Metadata's I/O and timing: answers each activity frame with who is in it."""

import time
from pathlib import Path

from wattline.service import Runtime
from wattline.wire.frames import Activity, AnyFrame, Metadata, SourceState

from .cgroups import find_mount, walk
from .directory import Directory
from .settings import MetadataSettings

_SOURCE = "cgroup2"


class MetadataStage:
    """Publishes at once when activity names somebody, so that energy is never kept waiting for a name."""

    def __init__(self, settings: MetadataSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._directory = Directory()
        self._covers = (0, 0)
        self._published_ns = 0

    def on_frame(self, frame: AnyFrame) -> None:
        """Learn who is new in this activity, and say who everybody is."""
        if not isinstance(frame, Activity):
            return
        self._directory.see(frame)
        wanted = self._directory.unknown(frame)
        if wanted:
            mount = self._mount()
            paths = dict(walk(mount)) if mount is not None else {}
            self._directory.learn(wanted, paths, frame.mono_ns)
        self._covers = (frame.epoch, frame.mono_ns)
        self._publish()

    def on_tick(self, now_ns: int) -> None:
        """A sign of life when there is no activity."""
        if now_ns - self._published_ns >= self._runtime.interval_ns:
            self._publish()

    def close(self) -> None:
        """Nothing is held."""

    def _mount(self) -> Path | None:
        if self._settings.path_cgroup:
            return Path(self._settings.path_cgroup)
        return find_mount(self._settings.path_procfs)

    def _publish(self) -> None:
        mount = self._mount()
        up = mount is not None and mount.is_dir()
        reason = "" if up else "no cgroup2 hierarchy is mounted: containers cannot be told apart"
        if not up:
            self._runtime.log.warning("no_cgroup2", cause=reason)
        self._published_ns = time.monotonic_ns()
        self._runtime.publish(
            Metadata,
            epoch=0,  # nothing in it is a counter
            mono_ns=self._published_ns,
            covers_epoch=self._covers[0],
            covers_mono_ns=self._covers[1],
            cgroups=self._directory.cgroups(),
            processes=self._directory.processes(),
            sources=[SourceState(name=_SOURCE, up=up, reason=reason)],
        )
