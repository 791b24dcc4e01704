# SPDX-License-Identifier: Apache-2.0
"""A larger machine on paper: sockets, hardware counters, GPUs, cgroups that go, meters of several clocks.

`World` is enough for one socket and one law; this one is for everything that may happen at once.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from services.calculator.energy_names import machines_table, pod_labels_table, pods_table
from services.calculator.reported_names import MachineName, PodName
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    CGROUP_DEPARTED,
    Activity,
    ActivityCgroups,
    ActivityPaths,
    ActivityProcesses,
    Cpus,
    GpuUse,
    Metadata,
    MetadataCgroups,
    MetadataContainers,
    MetadataProcesses,
    Power,
    PowerZones,
)

from .world import S, header

ROOT = 1
CPU_NS, FREQUENCY, CYCLES, INSTRUCTIONS, MISSES = range(5)
COUNTERS = ("cycles", "instructions", "cache_misses")
Process = tuple[int, int, int]  # cgroup id, pid, start


def nothing():
    return np.zeros(5, np.int64)


@dataclass
class PaperMeter:
    """One zone: a law, and when it can be read. `nj_per`: of each unit of use; `socket` None: of all."""

    zone: str
    index: str
    idle_uw: int
    nj_per: np.ndarray
    socket: int | None = None
    period_ns: int = 0  # 0: at every reading
    energy_nj: int = 0
    shown: tuple[int, int] = (0, 0)  # time and µJ of the last reading
    is_present: bool = True
    source: str = "paper"


@dataclass
class Paper:
    """Cumulative truth, and the frames of this moment."""

    sockets: int = 1
    tells_sockets: bool = True
    counts: bool = True
    cpus_per_socket: int = 4
    now_ns: int = 1000 * S
    probe_epoch: int = 1000 * S
    power_epoch: int = 1000 * S
    seq: int = 0
    use: dict[tuple[Process, int], np.ndarray] = field(default_factory=dict)
    own: dict[tuple[int, int], np.ndarray] = field(default_factory=lambda: defaultdict(nothing))
    departed: dict[tuple[int, int], np.ndarray] = field(default_factory=lambda: defaultdict(nothing))
    parents: dict[int, int] = field(default_factory=lambda: {ROOT: 0})
    containers: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # id, pod, vm of a cgroup
    requests_m: dict[str, int] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)  # names by container
    kinds: dict[str, str] = field(default_factory=dict)  # likewise
    awaited: set[str] = field(default_factory=set)  # containers with a row, and pods, whose name may come
    pods: dict[str, PodName] = field(default_factory=dict)  # by uid
    machines: dict[str, MachineName] = field(default_factory=dict)  # by id
    knows_requests: bool = True
    units: dict[int, str] = field(default_factory=dict)  # by cgroup
    meters: list[PaperMeter] = field(default_factory=list)
    gpu_ns: dict[tuple[str, int, int], int] = field(default_factory=dict)  # by (gpu, pid, start)
    truth_nj: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # meter, cgroup

    def meter(self, zone, index, idle_w, *, per_cpu_s=0.0, per_gcycles=0.0, per_mmisses=0.0, **more):
        """Add a meter: watts when idle, and joules per CPU second, 10⁹ cycles and 10⁶ misses."""
        per = np.array([per_cpu_s, 0, per_gcycles, 0, per_mmisses * 1000])  # J/10⁹ is nJ; J/10⁶ is 10³ nJ
        self.meters.append(PaperMeter(zone, index, round(idle_w * 1e6), per, **more))
        self.meters[-1].shown = (self.now_ns, 0)

    def born(self, cgroup_id, parent=ROOT, container="", pod="", vm="", *, unit=""):
        self.parents[cgroup_id] = parent
        self.units[cgroup_id] = unit
        self.containers[cgroup_id] = (container, pod, vm)

    def run(self, time_ns, work):
        """Time passes; `work`: {(process, socket): (CPU s, GHz, instructions per cycle, misses per ms)}."""
        self.now_ns += time_ns
        for meter in self.meters:
            meter.energy_nj += meter.idle_uw * time_ns // 1_000_000
        for (process, socket), (cpu_s, ghz, per_cycle, misses_per_ms) in work.items():
            ns = round(cpu_s * S)
            cycles = round(ns * ghz)
            amount = np.array(
                [ns, cycles, cycles, round(cycles * per_cycle), round(ns * misses_per_ms / 1e6)], np.int64
            )
            row = self.use.setdefault((process, socket), nothing())
            row += amount
            self.own[process[0], socket] += amount
            for number, meter in enumerate(self.meters):
                if meter.socket in (None, socket):
                    nj = int(meter.nj_per @ amount)
                    meter.energy_nj += nj
                    self.truth_nj[number, process[0]] += nj

    def end(self, process):
        """The process leaves the table; its cgroup keeps what it used."""
        self.use = {key: amount for key, amount in self.use.items() if key[0] != process}

    def remove(self, cgroup_id):
        """A cgroup goes, and its rows go to its parent's departed row."""
        for process, _socket in list(self.use):
            if process[0] == cgroup_id:
                self.end(process)
        for figures in (self.own, self.departed):
            for owner, socket in [place for place in figures if place[0] == cgroup_id]:
                self.departed[self.parents[cgroup_id], socket] += figures.pop((owner, socket))
        self.parents = {
            child: self.parents[cgroup_id] if parent == cgroup_id else parent
            for child, parent in self.parents.items()
            if child != cgroup_id
        }

    def restart_probe(self):
        self.probe_epoch = self.now_ns
        self.use = {key: nothing() for key in self.use}
        self.own.clear()
        self.departed.clear()

    def restart_power(self):
        self.power_epoch = self.now_ns
        self.gpu_ns = dict.fromkeys(self.gpu_ns, 0)
        for meter in self.meters:
            meter.energy_nj, meter.shown = 0, (self.now_ns, 0)

    def activity(self):
        self.seq += 1
        rows = sorted(self.use.items())
        places = [(place, 0, amount) for place, amount in sorted(self.own.items())]
        places += [(place, CGROUP_DEPARTED, amount) for place, amount in sorted(self.departed.items())]
        cpus = self.sockets * self.cpus_per_socket
        ids = sorted(self.parents)
        return Activity(
            **header("probe", self.seq, self.now_ns, self.probe_epoch),
            source="ebpf",
            skew_ns=1000,
            counters=list(COUNTERS) if self.counts else [],
            cpus=Cpus(
                cpu=U32(range(cpus)),
                start_mono_ns=U64([self.probe_epoch] * cpus),
                stamp_mono_ns=U64([self.now_ns] * cpus),
                idle_ns=U64([0] * cpus),
                lost_ns=U64([0] * cpus),
                socket=U32(
                    [cpu // self.cpus_per_socket for cpu in range(cpus)] if self.tells_sockets else []
                ),
            ),
            cgroups=ActivityCgroups(
                cgroup_id=U64(place[0] for place, _flag, _amount in places),
                flags=U8(flag for _place, flag, _amount in places),
                **self._columns([(place[1], amount) for place, _flag, amount in places]),
            ),
            processes=ActivityProcesses(
                cgroup_id=U64(key[0][0] for key, _amount in rows),
                pid=U32(key[0][1] for key, _amount in rows),
                start_ticks=U64(key[0][2] for key, _amount in rows),
                flags=U8(bytes(len(rows))),
                comm=[f"p{key[0][1]}" for key, _amount in rows],
                **self._columns([(key[1], amount) for key, amount in rows]),
            ),
            paths=ActivityPaths(
                cgroup_id=U64(ids),
                parent_id=U64(self.parents[cgroup_id] for cgroup_id in ids),
                removed=U8(bytes(len(ids))),
                path=["/" if cgroup_id == ROOT else f"/c{cgroup_id}" for cgroup_id in ids],
            ),
        )

    def _columns(self, rows):
        amounts = np.array([amount for _socket, amount in rows], np.int64).reshape(len(rows), 5)
        columns = {"cpu_ns": U64(amounts[:, CPU_NS].tolist())}
        if self.tells_sockets:
            columns["socket"] = U32(socket for socket, _amount in rows)
        if self.counts:
            counted = [U64(amounts[:, column].tolist()) for column in (CYCLES, INSTRUCTIONS, MISSES)]
            columns |= {
                "counts": counted,
                "counts_enabled_ns": [columns["cpu_ns"]] * 3,
                "counts_running_ns": [columns["cpu_ns"]] * 3,
            }
        return columns

    def power(self, read_ns=None):
        """Readings of now, each meter on its own clock; of the meters that are present."""
        self.seq += 1
        for meter in self.meters:
            if self.now_ns - meter.shown[0] >= meter.period_ns and meter.is_present:
                meter.shown = (self.now_ns, meter.energy_nj // 1000)
        shown = [meter for meter in self.meters if meter.is_present]
        rows = len(shown)
        return Power(
            **header("power", self.seq, read_ns or self.now_ns, self.power_epoch),
            zones=PowerZones(
                zone=[meter.zone for meter in shown],
                index=[meter.index for meter in shown],
                source=[meter.source for meter in shown],
                provenance=["measured"] * rows,
                model=[""] * rows,
                error_ratio_ppm=U32([0] * rows),
                mono_ns=U64(meter.shown[0] for meter in shown),
                energy_uj=U64(meter.shown[1] for meter in shown),
                raw=U64([0] * rows),
                raw_range=U64([0] * rows),
                raw_epoch=U64([0] * rows),
                gaps=U32([0] * rows),
            ),
            gpu_use=GpuUse(
                index=[gpu for gpu, _pid, _start in sorted(self.gpu_ns)],
                pid=U32(pid for _gpu, pid, _start in sorted(self.gpu_ns)),
                start_ticks=U64(start for _gpu, _pid, start in sorted(self.gpu_ns)),
                busy_ns=U64(self.gpu_ns[key] for key in sorted(self.gpu_ns)),
            ),
        )

    def metadata(self):
        self.seq += 1
        ids = sorted(self.parents)
        told = [self.containers.get(cgroup_id, ("", "", "")) for cgroup_id in ids]
        units = [self.units.get(cgroup_id, "") for cgroup_id in ids]
        return Metadata(
            **header("metadata", self.seq, self.now_ns, 0),
            covers_epoch=self.probe_epoch,
            covers_mono_ns=self.now_ns,
            cgroups=MetadataCgroups(
                cgroup_id=U64(ids),
                path=["/" if cgroup_id == ROOT else f"/c{cgroup_id}" for cgroup_id in ids],
                container_id=[container for container, _pod, _vm in told],
                runtime=["docker" if container else "" for container, _pod, _vm in told],
                pod_uid=[pod for _container, pod, _vm in told],
                vm_id=[vm for _container, _pod, vm in told],
                unit=units if any(units) else [],
                cpu_request_m=U32(
                    self.requests_m.get(container, 0) for container, _pod, _vm in told if self.knows_requests
                ),
            ),
            processes=MetadataProcesses(pid=U32(), start_ticks=U64(), kernel=U8(), comm=[]),
            containers=MetadataContainers(
                container_id=list(self.called),
                container_name=list(self.called.values()),
                kind=[self.kinds.get(one, "") for one in self.called],
                is_awaited=U8(one in self.awaited for one in self.called),
            ),
            pods=pods_table([(uid, name, int(uid in self.awaited)) for uid, name in self.pods.items()]),
            pod_labels=pod_labels_table(self.pods),
            machines=machines_table(self.machines),
        )
