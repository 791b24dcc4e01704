# SPDX-License-Identifier: Apache-2.0
"""A machine on paper as metadata meets it: a proc file system, activity, and what is published of it."""

import io
import itertools
from collections import Counter
from pathlib import Path

import msgspec

from services.metadata.loop import MetadataStage
from services.metadata.settings import MetadataSettings
from tests.calculator.world import S, World, header
from wattline.log import Log
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import Activity, ActivityCgroups, ActivityPaths, ActivityProcesses, Metadata

ROOT = 1


def activity(
    mono_ns: int, processes: list[tuple[int, int, int, int, str]], paths: dict[int, str] | None = None
) -> Activity:
    """A frame. processes: (cgroup id, pid, start, flags, comm) each."""
    cgroups = sorted({row[0] for row in processes} | {*(paths or {})})
    listed = sorted(paths or {})
    return msgspec.structs.replace(
        World(now_ns=mono_ns).activity(),
        cgroups=ActivityCgroups(cgroup_id=U64(cgroups), cpu_ns=U64([1] * len(cgroups))),
        processes=ActivityProcesses(
            cgroup_id=U64(row[0] for row in processes),
            pid=U32(row[1] for row in processes),
            start_ticks=U64(row[2] for row in processes),
            flags=U8(row[3] for row in processes),
            comm=[row[4] for row in processes],
            cpu_ns=U64([1] * len(processes)),
        ),
        paths=ActivityPaths(
            cgroup_id=U64(listed),
            parent_id=U64([0] * len(listed)),
            removed=U8([0] * len(listed)),
            path=[paths[cgroup_id] for cgroup_id in listed],
        ),
    )


def escaped(mount: tuple[Path, str]) -> tuple[str, str]:
    """A mount with its path as the kernel writes it."""
    return str(mount[0]).replace("\\", r"\134").replace(" ", r"\040"), mount[1]


class FakeProc:
    """A directory that looks like /proc, as far as metadata looks."""

    def __init__(self, path: Path, *, cgroup1: bool = True, mount: Path | None = None) -> None:
        self.path = path
        (path / "self").mkdir(parents=True)
        hierarchies = "2:cpu,cpuacct:/\n" if cgroup1 else ""
        (path / "self/cgroup").write_text(f"{hierarchies}0::/\n", encoding="ascii")
        lines = [(path, "proc")] + ([(mount, "cgroup2")] if mount else [])
        text = "".join(f"{kind} {place} {kind} rw 0 0\n" for place, kind in map(escaped, lines))
        (path / "self/mounts").write_text(text, encoding="utf-8")

    def start(self, pid: int, start_ticks: int, cgroup: str) -> None:
        """A process; `cgroup`: its path in the cpu hierarchy of cgroup v1."""
        directory = self.path / str(pid)
        directory.mkdir(exist_ok=True)
        (directory / "cgroup").write_text(f"2:cpu,cpuacct:{cgroup}\n0::/\n", encoding="ascii")
        stat = f"{pid} (p) S {'0 ' * 18}{start_ticks} 0\n"
        (directory / "stat").write_text(stat, encoding="ascii")


class Stage:
    """The real stage, and what it has published and said."""

    def __init__(
        self,
        procfs: Path,
        cgroup: str = "",
        docker: str = "",
        patterns: str = "",
        *,
        name_grace_s: float = 10.0,
        kubernetes: str = "auto",
        run: Path | None = None,
    ) -> None:
        self.frames: list[Metadata] = []
        # Time enough passes between any two lines that none is held back as a repetition.
        self.log = Log("metadata", stream=io.StringIO(), now=map(float, itertools.count(0, 100)).__next__)
        self.interval_ns = S
        self.errors: Counter[str] = Counter()
        settings = MetadataSettings(
            path_procfs=procfs,
            path_cgroup=cgroup,
            docker_socket=docker,
            container_patterns=patterns,
            kubernetes_name_grace_s=name_grace_s,
            kubernetes=kubernetes,
            kubernetes_labels="app",
            **({"run": run} if run else {}),
        )
        self._stage = MetadataStage(settings, self)

    def count(self, event: str, cause: object) -> None:
        """Likewise."""
        self.errors[event] += 1
        self.log.warning(event, cause=cause)

    def mark_useful(self) -> None:
        """Likewise."""

    def publish(self, frame_type: type[Metadata], *, epoch: int, mono_ns: int, **fields: object) -> None:
        """What the run loop's runtime does for a stage."""
        self.frames.append(frame_type(**header("metadata", len(self.frames), mono_ns, epoch), **fields))

    def take(self, frame: Activity) -> Metadata:
        """The answer to a frame."""
        self._stage.on_frame(frame)
        return self.frames[-1]

    def tick(self, now_ns: int) -> None:
        """A moment without a frame."""
        self._stage.on_tick(now_ns)

    def close(self) -> None:
        """The end."""
        self._stage.close()

    def said(self, event: str) -> list[str]:
        """Log lines of an event."""
        return [line for line in self.log.stream.getvalue().splitlines() if f" {event} " in line]


def own_containers(frame: Metadata) -> dict[int, str]:
    """Own container by pid, of those that have one."""
    table = frame.processes
    return {pid: found for pid, found in zip(table.pid, table.container_id, strict=False) if found}
