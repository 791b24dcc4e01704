# SPDX-License-Identifier: Apache-2.0
"""Metadata's I/O and timing: answers each activity frame with who is in it."""

import time
from pathlib import Path

from wattline.cgroup2 import WatchedMount, walk
from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Metadata, SourceState

from . import cgroup_owner, procfs
from .cgroup_path import Delegation, user_delegation
from .directory import UNMATCHED_MAX, Directory
from .naming import Naming
from .places import compiled
from .process_cgroup import uses_cgroup1
from .processes import BY_PROCESS, Processes
from .settings import MetadataSettings

_SOURCE = "cgroup2"
_PATH_SHOWN_MAX = 300
_UNMATCHED = (
    "this cgroup is no known container, machine or unit; it counts as system_processes. If it is a "
    f"container, describe its path with --container-patterns (at most {UNMATCHED_MAX} paths are logged)"
)


class MetadataStage:
    """Publishes at once when activity names somebody, so that energy is never kept waiting for a name."""

    def __init__(self, settings: MetadataSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        places = compiled(settings.added_places())
        self._directory = Directory(self._delegation, places)
        self._processes = Processes(self._directory, places, settings.path_procfs, runtime.log)
        given = Path(settings.path_cgroup) if settings.path_cgroup else None
        self._mount = WatchedMount(settings.path_procfs, given)
        self._uses_cgroup1 = False
        self._is_cgroup1_due = True  # until a look succeeds
        self._naming = Naming(settings, runtime, self._directory)
        self._covers = (0, 0)
        self._published_ns = 0

    def on_frame(self, frame: AnyFrame) -> None:
        """Learn who is new in this activity, and say who everybody is."""
        if not isinstance(frame, Activity):
            return
        self._look_at_mounts(frame.mono_ns)
        self._directory.see(frame)
        self._look_for_cgroups(frame)
        source = self._source()
        self._processes.ask(frame, uses_cgroup1=self._uses_cgroup1)
        self._say_unmatched(frame)
        self._naming.answer(frame)
        self._covers = (frame.epoch, frame.mono_ns)
        self._publish(source)
        self._runtime.mark_useful()

    def on_tick(self, now_ns: int) -> None:
        """A sign of life when there is no activity."""
        self._naming.look(now_ns)
        if now_ns - self._published_ns >= self._runtime.interval_ns:
            self._look_at_mounts(now_ns)
            self._publish(self._source())

    def close(self) -> None:
        """Stop watching the mounts and asking for names."""
        try:
            self._naming.close()
        finally:
            self._mount.close()

    def _look_at_mounts(self, now_mono_ns: int) -> None:
        """Look again for what changes with mounts: when they change here, and once a minute.

        The second is also for cgroup v1, which is in use wherever on the machine it is mounted.
        """
        self._is_cgroup1_due |= self._mount.update(now_mono_ns)
        if self._is_cgroup1_due:
            self._uses_cgroup1 = uses_cgroup1(procfs.own_cgroups(self._settings.path_procfs))
            self._is_cgroup1_due = False

    def _look_for_cgroups(self, activity: Activity) -> None:
        """Walk the tree for those whose path activity doesn't tell."""
        wanted = self._directory.unknown(activity)
        if wanted:
            mount = self._mount.place
            paths = dict(walk(mount)) if mount is not None else {}
            self._directory.learn(wanted, paths, activity.mono_ns)

    def _say_unmatched(self, activity: Activity) -> None:
        for path in self._directory.newly_unmatched(activity):
            self._runtime.log.warning("cgroup_unmatched", cause=f"{path!r:.{_PATH_SHOWN_MAX}}: {_UNMATCHED}")

    def _delegation(self, path: str) -> Delegation | None:
        mount = self._mount.whole
        found = cgroup_owner.delegation(mount, path) if mount is not None else None
        return found or user_delegation(path)

    def _source(self) -> SourceState:
        mount = self._mount.place
        # Where only the kernel's own word reaches us, it does.
        if self._directory.tells_cgroups_apart() or (mount is not None and mount.is_dir()):
            return SourceState(name=_SOURCE, up=True)
        reason = f"no cgroup2 hierarchy is mounted: {BY_PROCESS}"
        self._processes.say_once("no_cgroup2", reason)
        return SourceState(name=_SOURCE, up=False, reason=reason)

    def _publish(self, source: SourceState) -> None:
        self._published_ns = time.monotonic_ns()
        cgroups, containers, pods, pod_labels = self._naming.tables()
        self._runtime.publish(
            Metadata,
            epoch=0,  # nothing in it is a counter
            mono_ns=self._published_ns,
            covers_epoch=self._covers[0],
            covers_mono_ns=self._covers[1],
            cgroups=cgroups,
            processes=self._directory.processes(),
            containers=containers,
            pods=pods,
            pod_labels=pod_labels,
            sources=[source, *self._processes.source(), *self._naming.sources()],
        )
