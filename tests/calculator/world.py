# SPDX-License-Identifier: Apache-2.0
"""A machine on paper: processes that use CPU time, meters that count, and the frames they would give."""

from dataclasses import dataclass, field

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    Activity,
    ActivityCgroups,
    ActivityProcesses,
    Cpus,
    Metadata,
    MetadataCgroups,
    MetadataProcesses,
    Power,
    PowerZones,
)

S = 1_000_000_000
CPUS = 2
CONTAINER = {number: f"{number:064x}" for number in range(100)}
Process = tuple[int, int, int]  # cgroup id, pid, start


def header(producer: str, topic_seq: int, mono_ns: int, epoch: int) -> dict:
    return {
        "node": "paper",
        "boot_id": "boot",
        "producer": producer,
        "epoch": epoch,
        "run": 1,
        "seq": topic_seq,
        "mono_ns": mono_ns,
        "unix_ns": mono_ns,
        "interval_ns": S,
    }


@dataclass
class World:
    """Cumulative truth; each method gives the frame of this moment."""

    now_ns: int = 1000 * S
    probe_epoch: int = 1000 * S
    power_epoch: int = 1000 * S
    idle_w: int = 20
    busy_w: int = 15
    cpu_ns: dict[Process, int] = field(default_factory=dict)
    departed_ns: dict[int, int] = field(default_factory=dict)
    energy_uj: int = 0
    seq: int = 0

    def run(self, seconds: float, use: dict[Process, float]) -> None:
        """Let time pass; `use` says how many CPU seconds each process uses in it."""
        self.now_ns += round(seconds * S)
        for process, cpu_s in use.items():
            self.cpu_ns[process] = self.cpu_ns.get(process, 0) + round(cpu_s * S)
        self.energy_uj += round(seconds * self.idle_w * 1e6 + sum(use.values()) * self.busy_w * 1e6)

    def end(self, process: Process) -> None:
        """A process leaves the table; its cgroup keeps its time."""
        self.departed_ns[process[0]] = self.departed_ns.get(process[0], 0) + self.cpu_ns.pop(process, 0)

    def restart_probe(self) -> None:
        """The probe's counters begin again."""
        self.probe_epoch = self.now_ns
        self.cpu_ns = dict.fromkeys(self.cpu_ns, 0)
        self.departed_ns = {}

    def activity(self) -> Activity:
        self.seq += 1
        rows = sorted(self.cpu_ns.items())
        cgroups = dict(self.departed_ns)
        for (cgroup_id, _pid, _start), ns in rows:
            cgroups[cgroup_id] = cgroups.get(cgroup_id, 0) + ns
        return Activity(
            **header("probe", self.seq, self.now_ns, self.probe_epoch),
            source="ebpf",
            skew_ns=0,
            cpus=Cpus(
                cpu=U32(range(CPUS)),
                start_mono_ns=U64([self.probe_epoch] * CPUS),
                stamp_mono_ns=U64([self.now_ns] * CPUS),
                idle_ns=U64([0] * CPUS),
                lost_ns=U64([0] * CPUS),
            ),
            cgroups=ActivityCgroups(cgroup_id=U64(cgroups.keys()), cpu_ns=U64(cgroups.values())),
            processes=ActivityProcesses(
                cgroup_id=U64(key[0] for key, _ns in rows),
                pid=U32(key[1] for key, _ns in rows),
                start_ticks=U64(key[2] for key, _ns in rows),
                flags=U8(0 for _row in rows),
                cpu_ns=U64(ns for _key, ns in rows),
                comm=[f"p{key[1]}" for key, _ns in rows],
            ),
        )

    def power(self, zones: tuple[str, ...] = ("package",)) -> Power:
        self.seq += 1
        return Power(
            **header("power", self.seq, self.now_ns, self.power_epoch),
            zones=PowerZones(
                zone=list(zones),
                index=["0"] * len(zones),
                source=["rapl-sysfs"] * len(zones),
                provenance=["measured"] * len(zones),
                model=[""] * len(zones),
                error_ratio_ppm=U32([0] * len(zones)),
                mono_ns=U64([self.now_ns] * len(zones)),
                energy_uj=U64(self.energy_uj // (number + 1) for number in range(len(zones))),
                raw=U64([0] * len(zones)),
                raw_range=U64([0] * len(zones)),
                raw_epoch=U64([0] * len(zones)),
                gaps=U32([0] * len(zones)),
            ),
        )

    def metadata(self, cgroups: tuple[int, ...]) -> Metadata:
        """Even cgroup ids are containers, odd ones the host's."""
        self.seq += 1
        return Metadata(
            **header("metadata", self.seq, self.now_ns, 0),
            covers_epoch=self.probe_epoch,
            covers_mono_ns=self.now_ns,
            cgroups=MetadataCgroups(
                cgroup_id=U64(cgroups),
                path=[f"/c{cgroup_id}" for cgroup_id in cgroups],
                container_id=["" if cgroup_id % 2 else CONTAINER[cgroup_id] for cgroup_id in cgroups],
                runtime=["" if cgroup_id % 2 else "docker" for cgroup_id in cgroups],
                pod_uid=["" for _cgroup in cgroups],
            ),
            processes=MetadataProcesses(pid=U32(), start_ticks=U64(), kernel=U8(), comm=[]),
        )
