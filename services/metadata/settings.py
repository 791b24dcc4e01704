# SPDX-License-Identifier: Apache-2.0
"""What metadata can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning

from .added_places import parse_container_patterns


class MetadataSettings(CommonSettings, kw_only=True, frozen=True):
    """Who each process and cgroup is: container, runtime, pod, kernel thread or host process."""

    path_procfs: Annotated[Path, meaning("where the host's proc file system is mounted")] = field(
        default=Path("/proc"), name="path.procfs"
    )
    path_cgroup: Annotated[
        str,
        meaning(
            "where the host's cgroup2 hierarchy is mounted; default: as the kernel lists it",
            expected="a path",
        ),
    ] = field(default="", name="path.cgroup")
    docker_socket: Annotated[
        str,
        meaning(
            "socket at which a Docker Engine is asked what its containers are called, nothing else; but who "
            "may open it may do anything to the host; default: no engine is asked",
            expected="a path",
        ),
    ] = field(default="", name="docker-socket")
    container_patterns: Annotated[
        str,
        meaning(
            "more cgroup paths that are containers: RUNTIME=PATTERN, several with commas; the last component "
            "has the id, as {name}, {number}, {uuid}, {hex32} or {hex64}; * stands for any characters, a "
            "leading / for the root",
            expected="RUNTIME=PATTERN,..., e.g. batch=/batch/*/job-{number},render=render-{name}.scope",
            check=parse_container_patterns,
        ),
    ] = field(default="", name="container-patterns")

    def added_places(self) -> list[tuple[str, str]]:
        """(runtime, pattern) of each pattern that the setting adds."""
        return parse_container_patterns(self.container_patterns)
