# SPDX-License-Identifier: Apache-2.0
"""Metadata's I/O and timing: answers each activity frame with who is in it."""

import time
from pathlib import Path

from wattline.cgroup2 import find_mount, is_whole, walk
from wattline.errors import Retry
from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Metadata, SourceState

from . import cgroup_owner, procfs
from .cgroup_path import CgroupIdentity, Delegation, identify, identify_owned, user_delegation
from .container_names import ContainerNames
from .directory import UNMATCHED_MAX, Directory
from .docker import BadAnswerError, DockerSocket
from .places import compiled
from .process_cgroup import cgroup2_tells, container_of, uses_cgroup1
from .settings import MetadataSettings

_SOURCE = "cgroup2"
_NAMES_SOURCE = "docker"
# Of the last three the path doesn't show which runtime it is: it may be Docker.
_NAMED_RUNTIMES = ("docker", "kubernetes", "ecs", "oci")
_NAMING_S = 0.5  # how long an answer may be held up by them; energy waits for it (--metadata-grace-s)
# Processes asked for their cgroups per frame; the others wait for the next. One takes some 30 µs.
_ASKED_MAX = 2000
_BY_PROCESS = (
    "containers are found by their processes, in /proc/PID/cgroup: a process that lived shorter than a tick "
    "counts as system_processes, as does the time of processes no longer listed (docs/install.md)"
)
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
        self._places = compiled(settings.added_places())
        self._directory = Directory(self._delegation, self._places)
        self._whole_mount: Path | None = None
        self._names = ContainerNames()
        self._docker = DockerSocket(settings.docker_socket) if settings.docker_socket else None
        self._name_containers(time.monotonic_ns(), say_hello=True)
        self._covers = (0, 0)
        self._published_ns = 0
        self._said_by_process = False

    def on_frame(self, frame: AnyFrame) -> None:
        """Learn who is new in this activity, and say who everybody is."""
        if not isinstance(frame, Activity):
            return
        mount = self._mount()
        self._whole_mount = mount if mount is not None and is_whole(mount) else None
        self._directory.see(frame)
        self._look_for_cgroups(frame)
        source = self._source()
        self._ask_processes(frame)
        self._say_unmatched(frame)
        self._name_containers(frame.mono_ns)
        self._covers = (frame.epoch, frame.mono_ns)
        self._publish(source)
        self._runtime.mark_useful()

    def on_tick(self, now_ns: int) -> None:
        """A sign of life when there is no activity."""
        if now_ns - self._published_ns >= self._runtime.interval_ns:
            self._publish(self._source())

    def close(self) -> None:
        """Nothing is held."""

    def _look_for_cgroups(self, activity: Activity) -> None:
        """Walk the tree for those whose path activity doesn't tell."""
        wanted = self._directory.unknown(activity)
        if wanted:
            mount = self._mount()
            paths = dict(walk(mount)) if mount is not None else {}
            self._directory.learn(wanted, paths, activity.mono_ns)

    def _ask_processes(self, activity: Activity) -> None:
        """Read once of each new process what cgroup v1 says of it, where cgroup2 tells no container."""
        path = self._settings.path_procfs
        with_cgroup1 = uses_cgroup1(procfs.own_cgroups(path))
        for key in self._directory.unasked(activity, uses_cgroup1=with_cgroup1)[:_ASKED_MAX]:
            text = procfs.cgroups_of(path, *key)
            if text is None:
                self._directory.answer(key, None)
                continue
            identity = container_of(text, self._of_cgroup1)
            self._directory.answer(key, identity)
            if identity.container_id and not cgroup2_tells(text, self._identify):
                self._say_by_process("containers_by_process", _BY_PROCESS)

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
        found = cgroup_owner.delegation(self._whole_mount, path) if self._whole_mount is not None else None
        return found or user_delegation(path)

    def _mount(self) -> Path | None:
        if self._settings.path_cgroup:
            return Path(self._settings.path_cgroup)
        return find_mount(self._settings.path_procfs)

    def _source(self) -> SourceState:
        mount = self._mount()
        # Where only the kernel's own word reaches us, it does.
        if self._directory.tells_cgroups_apart() or (mount is not None and mount.is_dir()):
            return SourceState(name=_SOURCE, up=True)
        reason = f"no cgroup2 hierarchy is mounted: {_BY_PROCESS}"
        self._say_by_process("no_cgroup2", reason)
        return SourceState(name=_SOURCE, up=False, reason=reason)

    def _names_source(self) -> list[SourceState]:
        trouble = self._names.trouble
        state = SourceState(name=_NAMES_SOURCE, up=not trouble, reason=trouble)
        return [state] if self._docker is not None else []

    def _say_by_process(self, event: str, cause: str) -> None:
        """How this host is, rather than what goes wrong: one line is enough."""
        if not self._said_by_process:
            self._said_by_process = True
            self._runtime.log.warning(event, cause=cause)

    def _publish(self, source: SourceState) -> None:
        self._published_ns = time.monotonic_ns()
        self._runtime.publish(
            Metadata,
            epoch=0,  # nothing in it is a counter
            mono_ns=self._published_ns,
            covers_epoch=self._covers[0],
            covers_mono_ns=self._covers[1],
            cgroups=self._directory.cgroups(),
            processes=self._directory.processes(),
            containers=self._names.table(self._directory.container_names()),
            sources=[source, *self._names_source()],
        )

    def _identify(self, path: str) -> CgroupIdentity:
        return identify(path, self._places)

    def _of_cgroup1(self, path: str) -> CgroupIdentity:
        """Owners of v1's directories are not looked up: only what systemd gave to a user is told apart."""
        return identify_owned(path, user_delegation(path), self._places)
