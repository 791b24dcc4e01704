# SPDX-License-Identifier: Apache-2.0
"""What the power tests are made of: a RAPL tree of plain files, activity, a clock, and a runtime."""

import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattline.log import Log
from wattline.runtime import Runtime
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import Activity, ActivityCgroups, ActivityProcesses, AnyFrame, Cpus, Frame

S = 1_000_000_000
RANGE_UJ = 262_143_328_850
BOOT = "0c4b1d6e-0000-4000-8000-000000000001"

_run = itertools.count(1)


class Clock:
    """Stands in for the module `time`; goes on only when told."""

    def __init__(self, now_ns: int = 1000 * S):
        self.now_ns = now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def advance(self, seconds: float):
        self.now_ns += round(seconds * S)


class RaplTree:
    """A sysfs with RAPL zones as plain files."""

    def __init__(self, sysfs: Path):
        self.sysfs = sysfs
        self.powercap = sysfs / "class" / "powercap"
        self.powercap.mkdir(parents=True, exist_ok=True)

    def zone(self, path: str, name: str, energy_uj: int = 0, range_uj: int = RANGE_UJ) -> Path:
        """A zone's directory, e.g. intel-rapl:0/intel-rapl:0:1."""
        directory = self.powercap / path
        directory.mkdir(parents=True)
        (directory / "name").write_text(f"{name}\n", encoding="ascii")
        (directory / "max_energy_range_uj").write_text(f"{range_uj}\n", encoding="ascii")
        self.set(path, energy_uj)
        return directory

    def set(self, path: str, energy_uj: int):
        (self.powercap / path / "energy_uj").write_text(f"{energy_uj}\n", encoding="ascii")

    def link(self, path: str):
        """What the kernel does for nested zones: a symlink at the top."""
        (self.powercap / Path(path).name).symlink_to(path)


@dataclass
class FakeRuntime:
    """Keeps what is published. A second one with the first's last frame is a restart."""

    last: AnyFrame | None = None
    node: str = "node"
    boot_id: str = BOOT
    interval_ns: int = S
    errors: dict[str, int] = field(default_factory=dict)
    frames: list[Any] = field(default_factory=list)
    run: int = field(default_factory=lambda: next(_run))
    text: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self):
        self.log = Log("power", stream=self.text)

    count = Runtime.count
    useful: int = 0

    def mark_useful(self) -> None:
        self.useful += 1

    def previous(self) -> AnyFrame | None:
        return self.last

    def publish(self, frame_type: type[Frame], *, epoch: int, mono_ns: int, **fields: Any):
        frame = frame_type(
            node=self.node,
            boot_id=self.boot_id,
            producer="power",
            epoch=epoch,
            run=self.run,
            seq=len(self.frames),
            mono_ns=mono_ns,
            unix_ns=0,
            interval_ns=self.interval_ns,
            **fields,
        )
        self.frames.append(frame)

    def restarted(self) -> "FakeRuntime":
        return FakeRuntime(last=self.frames[-1] if self.frames else self.last)


def activity(
    mono_ns: int,
    busy_ns: Iterable[int],
    *,
    cpus: int = 2,
    epoch: int = 900 * S,
    lost_ns: int = 0,
    boot_id: str = BOOT,
    interval_ns: int = S,
) -> Activity:
    """A frame in which cgroups 1, 2, ... have used so much."""
    busy_ns = list(busy_ns)
    return Activity(
        node="node",
        boot_id=boot_id,
        producer="probe",
        epoch=epoch,
        run=1,
        seq=0,
        mono_ns=mono_ns,
        unix_ns=0,
        interval_ns=interval_ns,
        source="ebpf",
        skew_ns=0,
        cpus=Cpus(
            cpu=U32(range(cpus)),
            start_mono_ns=U64([epoch] * cpus),
            stamp_mono_ns=U64([mono_ns] * cpus),
            idle_ns=U64([0] * cpus),
            lost_ns=U64([lost_ns] + [0] * (cpus - 1)) if cpus else U64(),
        ),
        cgroups=ActivityCgroups(cgroup_id=U64(range(1, len(busy_ns) + 1)), cpu_ns=U64(busy_ns)),
        processes=ActivityProcesses(
            cgroup_id=U64(), pid=U32(), start_ticks=U64(), flags=U8(), cpu_ns=U64(), comm=[]
        ),
    )


def rows(frame: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """A power frame's zones by (zone, index)."""
    zones = frame.zones
    return {
        (zones.zone[row], zones.index[row]): {
            name: getattr(zones, name)[row]
            for name in zones.__struct_fields__
            if name != "epoch" and getattr(zones, name)
        }
        | {"epoch": frame.zone_epochs()[row]}
        for row in range(len(zones))
    }
