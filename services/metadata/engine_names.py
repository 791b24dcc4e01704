# SPDX-License-Identifier: Apache-2.0
"""Names of containers from a Docker Engine, if one is to be asked."""

import time
from collections.abc import Mapping

from wattline.errors import Retry
from wattline.runtime import Runtime
from wattline.wire.frames import SourceState

from .cgroup_path import CgroupIdentity
from .container_names import ContainerNames, may_name
from .docker import BadAnswerError, DockerSocket

_SOURCE = "docker"
_NAMING_S = 0.5  # how long an answer may be held up by them; energy waits for it (--metadata-grace-s)


class EngineNames:
    """`names`: what the engine has said; None if none is asked."""

    def __init__(self, docker_socket: str, runtime: Runtime) -> None:
        """See whether it answers."""
        self._runtime = runtime
        self._docker = DockerSocket(docker_socket) if docker_socket else None
        self.names = ContainerNames() if docker_socket else None
        self.ask({}, time.monotonic_ns(), say_hello=True)

    def ask(
        self, containers: Mapping[str, CgroupIdentity], now_mono_ns: int, *, say_hello: bool = False
    ) -> None:
        """Ask for containers that are new; after a failure, whether it is back."""
        if self._docker is None or self.names is None or not self.names.may_ask(now_mono_ns):
            return
        ids = {container_id for container_id, one in containers.items() if may_name(one)}
        deadline_s = time.monotonic() + _NAMING_S
        wanted = self.names.unasked(ids)
        while wanted or self.names.trouble or say_hello:
            self._ask(self._docker, self.names, wanted, deadline_s, now_mono_ns)
            wanted = self.names.unasked(ids)
            # A question that had hardly any time left would say nothing about the engine.
            is_late = time.monotonic() >= deadline_s - _NAMING_S / 2
            if not wanted or is_late or not self.names.may_ask(now_mono_ns):
                return

    def _ask(
        self,
        docker: DockerSocket,
        names: ContainerNames,
        wanted: list[str],
        deadline_s: float,
        now_mono_ns: int,
    ) -> None:
        try:
            names.answer(wanted, docker.names(wanted, deadline_s))
        except BadAnswerError as error:
            names.give_up(wanted, str(error), now_mono_ns)
            self._runtime.count("docker_answer_refused", error)
        except Retry as error:
            names.fail(wanted, str(error), now_mono_ns)
            self._runtime.count("docker_unreachable", error)

    def source(self) -> list[SourceState]:
        """Whether it answers; empty if none is asked."""
        if self.names is None:
            return []
        return [SourceState(name=_SOURCE, up=not self.names.trouble, reason=self.names.trouble)]
