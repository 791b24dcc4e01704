# SPDX-License-Identifier: Apache-2.0
"""Metadata's I/O and timing: answers each activity frame with who is in it."""

import time
from pathlib import Path

from wattline.cgroup2 import WatchedMount, walk
from wattline.errors import Retry
from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Metadata, SourceState

from . import cgroup_owner, procfs
from .cgroup_path import Delegation, user_delegation
from .container_names import ContainerNames
from .directory import UNMATCHED_MAX, Directory
from .docker import BadAnswerError, DockerSocket
from .machines.machines import Machines
from .places import compiled
from .process_cgroup import uses_cgroup1
from .processes import BY_PROCESS, Processes
from .settings import MetadataSettings

_SOURCE = "cgroup2"
_NAMES_SOURCE = "docker"
# Of the last three the path doesn't show which runtime it is: it may be Docker.
_NAMED_RUNTIMES = ("docker", "kubernetes", "ecs", "oci")
_NAMING_S = 0.5  # how long an answer may be held up by them; energy waits for it (--metadata-grace-s)
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
        self._machines = Machines(self._directory, settings.path_procfs, runtime.log)
        if isinstance(previous := runtime.previous(), Metadata):
            self._machines.resume(previous)
        given = Path(settings.path_cgroup) if settings.path_cgroup else None
        self._mount = WatchedMount(settings.path_procfs, given)
        self._uses_cgroup1 = False
        self._is_cgroup1_due = True  # until a look succeeds
        self._names = ContainerNames()
        self._docker = DockerSocket(settings.docker_socket) if settings.docker_socket else None
        self._name_containers(time.monotonic_ns(), say_hello=True)
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
        self._machines.ask(frame)
        self._say_unmatched(frame)
        self._name_containers(frame.mono_ns)
        self._covers = (frame.epoch, frame.mono_ns)
        self._publish(source)
        self._runtime.mark_useful()

    def on_tick(self, now_ns: int) -> None:
        """A sign of life when there is no activity."""
        if now_ns - self._published_ns >= self._runtime.interval_ns:
            self._look_at_mounts(now_ns)
            self._publish(self._source())

    def close(self) -> None:
        """Stop watching the mounts."""
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

    def _name_containers(self, now_mono_ns: int, *, say_hello: bool = False) -> None:
        """Ask the engine for containers that are new; after a failure, whether it is back."""
        if self._docker is None or not self._names.may_ask(now_mono_ns):
            return
        container_ids = self._directory.container_ids(_NAMED_RUNTIMES)
        deadline_s = time.monotonic() + _NAMING_S
        wanted = self._names.unasked(container_ids)
        while wanted or self._names.trouble or say_hello:
            self._ask_docker(self._docker, wanted, deadline_s, now_mono_ns)
            wanted = self._names.unasked(container_ids)
            # A question that had hardly any time left would say nothing about the engine.
            is_late = time.monotonic() >= deadline_s - _NAMING_S / 2
            if not wanted or is_late or not self._names.may_ask(now_mono_ns):
                return

    def _ask_docker(
        self, docker: DockerSocket, wanted: list[str], deadline_s: float, now_mono_ns: int
    ) -> None:
        try:
            self._names.answer(wanted, docker.names(wanted, deadline_s))
        except BadAnswerError as error:
            self._names.give_up(wanted, str(error), now_mono_ns)
            self._runtime.count("docker_answer_refused", error)
        except Retry as error:
            self._names.fail(wanted, str(error), now_mono_ns)
            self._runtime.count("docker_unreachable", error)

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

    def _names_source(self) -> list[SourceState]:
        trouble = self._names.trouble
        state = SourceState(name=_NAMES_SOURCE, up=not trouble, reason=trouble)
        return [state] if self._docker is not None else []

    def _publish(self, source: SourceState) -> None:
        self._published_ns = time.monotonic_ns()
        self._runtime.publish(
            Metadata,
            epoch=0,  # nothing in it is a counter
            mono_ns=self._published_ns,
            covers_epoch=self._covers[0],
            covers_mono_ns=self._covers[1],
            cgroups=self._directory.cgroups(),
            processes=self._directory.processes(self._machines.ids()),
            containers=self._names.table(self._directory.container_names()),
            machines=self._machines.table(self._published_ns),
            sources=[source, *self._processes.source(), *self._names_source()],
        )
