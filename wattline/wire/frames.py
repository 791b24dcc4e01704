# SPDX-License-Identifier: Apache-2.0
"""The five frame types. docs/wire.md says the same for writers of other languages.

Every frame is full: it carries cumulative counters and the whole state of its stage, so a lost, late or
repeated frame costs time resolution or a name, never a joule.
"""

from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from .columns import U8, U32, U64
from .identities import (
    HeldDevices,
    Machines,
    PodLabels,
    Pods,
    no_devices,
    no_machines,
    no_pod_labels,
    no_pods,
)
from .table import Safe, Table

SCHEMA = 1

PROCESS_KERNEL_THREAD = 1  # bits of ActivityProcesses.flags
PROCESS_ENDED = 2
CGROUP_DEPARTED = 1  # bit of ActivityCgroups.flags
UNMATCHED_UNIT = (
    "unmatched"  # the `unit` of cgroups whose path tells nothing; no unit's own name is without a dot
)
UNREADABLE = "unreadable"  # values of AbsentZones.why: its meter can't be read
MIRROR = "mirror"  # its counter is, or may be, that of another zone, which is counted

# `index` of a zone that covers the whole machine, whatever it has several of
WHOLE_MACHINE = "node"

# A reader refuses a negative number wherever this type stands.
Natural = Annotated[int, Meta(ge=0)]


class SourceState(Safe, kw_only=True):
    """Whether a source of readings works, and if not, why."""

    name: str
    up: bool
    reason: str = ""


class Frame(Safe, kw_only=True):
    """What every frame begins with.

    `epoch` changes only when the producer's counters begin again (CLOCK_MONOTONIC of that moment), `run` at
    each start of the producer, `seq` counts the frames of one topic in a run, from 0. `mono_ns` is
    CLOCK_MONOTONIC at the sampling instant; `unix_ns` is the same instant on the wall clock, for people.
    `interval_ns` is how often to expect such frames. `useful_mono_ns` is when the producer's content last
    advanced (0: it does not report that), `failed_turns` how many of its turns have failed since.
    """

    topic: ClassVar[str]

    schema: Annotated[int, Meta(ge=1)] = SCHEMA
    node: str
    boot_id: str
    producer: str
    epoch: Natural
    run: Natural
    seq: Natural
    mono_ns: Natural
    unix_ns: Natural
    interval_ns: Natural
    useful_mono_ns: Natural = 0
    failed_turns: Natural = 0


class Cpus(Table, kw_only=True):
    """One row per possible CPU that has been seen. Cumulative ns since `start_mono_ns`."""

    optional = frozenset({"socket", "offline_ns", "frequency_khz"})

    cpu: U32
    start_mono_ns: U64
    stamp_mono_ns: U64  # up to when this CPU has been charged
    idle_ns: U64
    lost_ns: U64  # used by somebody, but the cgroup table was full
    socket: U32 = field(default_factory=U32)  # physical package
    offline_ns: U64 = field(default_factory=U64)  # time it was unplugged
    frequency_khz: U32 = field(default_factory=U32)  # its clock now


class Use(Table, kw_only=True):
    """What rows of either table below used; all cumulative.

    `counts` has a column for each of the frame's `counters`, as the hardware counted while it was scheduled
    to: `counts_running_ns` out of `counts_enabled_ns` (see wattline.wire.counts).
    """

    column_lists = frozenset({"counts", "counts_enabled_ns", "counts_running_ns"})
    optional = frozenset(
        {
            "socket",
            "frequency_cycles",
            "page_cache_hits",
            "net_tx_softirqs",
            "net_rx_softirqs",
            "block_softirqs",
        }
    )

    cpu_ns: U64
    socket: U32 = field(default_factory=U32)  # physical package it ran on
    frequency_cycles: U64 = field(default_factory=U64)  # CPU time × the CPU's clock at that time
    page_cache_hits: U64 = field(default_factory=U64)  # pages asked of it, and dirtied in it
    net_tx_softirqs: U64 = field(default_factory=U64)
    net_rx_softirqs: U64 = field(default_factory=U64)
    block_softirqs: U64 = field(default_factory=U64)
    counts: list[U64] = field(default_factory=list)
    counts_enabled_ns: list[U64] = field(default_factory=list)
    counts_running_ns: list[U64] = field(default_factory=list)


class ActivityCgroups(Use, kw_only=True):
    """What each cgroup's own tasks used (exclusive of child cgroups) on each socket, for the cgroup's life.

    A row flagged CGROUP_DEPARTED has what the cgroup's removed descendants used, whose own rows are gone.
    """

    optional = Use.optional | {"flags"}

    cgroup_id: U64
    flags: U8 = field(default_factory=U8)


class ActivityPaths(Table, kw_only=True):
    """Where each cgroup of the table above is: `path` as below the cgroup2 mount, from "/".

    `parent_id` is 0 for the root and where it is not known; `removed` 1 once the directory is gone.
    """

    cgroup_id: U64
    parent_id: U64
    removed: U8
    path: list[str]


def _no_paths() -> ActivityPaths:
    return ActivityPaths(cgroup_id=U64(), parent_id=U64(), removed=U8(), path=[])


class ActivityProcesses(Use, kw_only=True):
    """What each process used in each cgroup and on each socket it ran in.

    `start_ticks` as field 22 of /proc/PID/stat.
    """

    cgroup_id: U64
    pid: U32
    start_ticks: U64
    flags: U8
    comm: list[str]


class Activity(Frame, kw_only=True, tag_field="topic", tag="activity"):
    """What every process and cgroup did."""

    topic = "activity"

    source: str
    skew_ns: Natural  # the instants at which CPUs and tables were read lie within this
    cpus: Cpus
    cgroups: ActivityCgroups
    processes: ActivityProcesses
    paths: ActivityPaths = field(default_factory=_no_paths)
    counters: list[str] = field(default_factory=list)
    losses: dict[str, Natural] = field(default_factory=dict)
    sources: list[SourceState] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for table in (self.cgroups, self.processes):
            _check_column_lists(table, len(self.counters), "counter")


def _check_column_lists(table: Table, expected: int, each: str) -> None:
    for name in sorted(table.column_lists):
        if len(getattr(table, name)) != expected:
            raise ValueError(
                f"{name!r}: expected {expected} columns, one per {each}, got {len(getattr(table, name))}"
            )


ZONES_MAX = 256  # a frame's; each costs two columns of every workload


def _check_zones(table: Table) -> None:
    if len(table) > ZONES_MAX:
        raise ValueError(f"zones: expected at most {ZONES_MAX} rows, got {len(table)}")


class PowerZones(Table, kw_only=True):
    """Cumulative energy of each zone of each source, each with the time of its own reading.

    `raw` is the meter's own figure at that time (`raw_range` its wrap, 0 if it has none): what a restarted
    publisher goes on from. `gaps` counts stretches in which energy flowed that no reading can tell.
    `provenance` is measured or estimated; `error_ratio_ppm` the known error of an estimate, 0 if unknown.
    `epoch` is that of the zone's own counting where it isn't the frame's: 0, or no column, means the frame's.
    `rank` is the place of the row's source in the order of preference, the first being 0 (as is no column):
    where several sources have the same zone and index, readers count one of them. `period_ns` is how often a
    new reading of the zone is to be expected, 0 (or no column) meaning the frame's `interval_ns`.
    `integration_uj` is how far off `energy_uj` may be since only power was read, at times.
    """

    optional = frozenset({"epoch", "rank", "period_ns", "integration_uj"})

    zone: list[str]
    index: list[str]
    source: list[str]
    provenance: list[str]
    model: list[str]
    error_ratio_ppm: U32
    mono_ns: U64
    energy_uj: U64
    raw: U64
    raw_range: U64
    raw_epoch: U64
    gaps: U32
    epoch: U64 = field(default_factory=U64)
    rank: U32 = field(default_factory=U32)
    period_ns: U64 = field(default_factory=U64)
    integration_uj: U64 = field(default_factory=U64)


class AbsentZones(Table, kw_only=True):
    """Zones of a source that have no new row although their meter is there, with the reason in words.

    `why` is UNREADABLE or MIRROR. A meter whose zone isn't known has an empty `zone` and its own name as
    `index`.
    """

    source: list[str]
    zone: list[str]
    index: list[str]
    why: list[str]
    reason: list[str]


def none_absent() -> AbsentZones:
    """The table without a row."""
    return AbsentZones(source=[], zone=[], index=[], why=[], reason=[])


class GpuUse(Table, kw_only=True):
    """How long each process has kept each GPU busy; cumulative, at the instant of that GPU's own reading.

    `index` as in the zone "gpu". The row with pid 0 has what processes used that are no longer listed.
    """

    index: list[str]
    pid: U32
    start_ticks: U64
    busy_ns: U64


def _no_gpu_use() -> GpuUse:
    return GpuUse(index=[], pid=U32(), start_ticks=U64(), busy_ns=U64())


class Power(Frame, kw_only=True, tag_field="topic", tag="power"):
    """Energy of every zone, which zones have none, and who used the GPUs."""

    topic = "power"

    zones: PowerZones
    gpu_use: GpuUse = field(default_factory=_no_gpu_use)
    sources: list[SourceState] = field(default_factory=list)
    absent: AbsentZones = field(default_factory=none_absent)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_zones(self.zones)
        _check_zones(self.absent)

    def zone_epochs(self) -> list[int]:
        """The epoch of each zone's counting, by row."""
        own = self.zones.epoch or [0] * len(self.zones)
        return [epoch or self.epoch for epoch in own]


class MetadataCgroups(Table, kw_only=True):
    """Who each cgroup is. Without a container, container_id and runtime are empty.

    `pod_uid` may be known without a container. `unit` is the service or scope of host processes that are in
    no container, pod or machine, UNMATCHED_UNIT where the path tells nothing at all. `vm_id` names the
    virtual machine that runs in it. `cpu_request_m` is how much CPU its container was promised, in
    thousandths of a CPU; 0 if nothing was.
    """

    optional = frozenset({"vm_id", "cpu_request_m", "unit"})

    cgroup_id: U64
    path: list[str]
    container_id: list[str]
    runtime: list[str]
    pod_uid: list[str]
    vm_id: list[str] = field(default_factory=list)
    cpu_request_m: U32 = field(default_factory=U32)
    unit: list[str] = field(default_factory=list)


class MetadataProcesses(Table, kw_only=True):
    """Who each process is; `kernel` is 1 for a kernel thread.

    container_id, runtime and pod_uid are its own container, known from itself where its cgroup tells none
    (cgroup v1); `vm_id` likewise the virtual machine that it runs, `unit` its service or scope.
    """

    optional = frozenset({"container_id", "runtime", "pod_uid", "vm_id", "unit"})

    pid: U32
    start_ticks: U64
    kernel: U8
    comm: list[str]
    container_id: list[str] = field(default_factory=list)
    runtime: list[str] = field(default_factory=list)
    pod_uid: list[str] = field(default_factory=list)
    vm_id: list[str] = field(default_factory=list)
    unit: list[str] = field(default_factory=list)


class MetadataContainers(Table, kw_only=True):
    """What containers are called: those whose engine, cluster or path has told.

    `kind` is container, init, sidecar, ephemeral or pause where Kubernetes has told; `is_awaited`: 1 while a
    name may come in a moment, and the name is empty.
    """

    optional = frozenset({"kind", "is_awaited"})

    container_id: list[str]
    container_name: list[str]
    kind: list[str] = field(default_factory=list)
    is_awaited: U8 = field(default_factory=U8)


def _no_containers() -> MetadataContainers:
    return MetadataContainers(container_id=[], container_name=[])


class Metadata(Frame, kw_only=True, tag_field="topic", tag="metadata"):
    """Who each process and cgroup is.

    Every cgroup of activity up to `covers_mono_ns` (of `covers_epoch`) is in it; one whose path could not be
    found any more has an empty path.
    """

    topic = "metadata"

    covers_epoch: Natural
    covers_mono_ns: Natural
    cgroups: MetadataCgroups
    processes: MetadataProcesses
    containers: MetadataContainers = field(default_factory=_no_containers)
    sources: list[SourceState] = field(default_factory=list)
    pods: Pods = field(default_factory=no_pods)
    pod_labels: PodLabels = field(default_factory=no_pod_labels)
    machines: Machines = field(default_factory=no_machines)
    devices: HeldDevices = field(default_factory=no_devices)


class EnergyZones(Table, kw_only=True):
    """The books per zone and source, in µJ up to `watermark_mono_ns`: measured = idle + dynamic.

    And how far they can be trusted. `share_by` is what the last dynamic energy was shared by (cpu_time,
    frequency, cycles, cache_misses, gpu_time or model), `model_error_ratio_ppm` how far the learned model was
    off lately where there is one. `idle_method` is how the idle power came about (learned, provisional,
    observed-min or fixed), `idle_doubt_uw` how far off it may be. `interpolation_uj` is the most by which the
    energy up to the watermark may be off since no reading stands exactly there, `join_skew_ns` how far the
    nearest reading is from it. `disagreement_uj`, of the zone `other`: how much more the zones within a
    platform's meter have counted than it has. `is_listed`: 1 while power reports the zone;
    `reading_interval_ns`: between its two newest readings, 0 if there are fewer. `is_owner`: 1 while its
    readings are counted, 0 once another source of the same zone and index is; `stream`: the power stream that
    they come from; `rank`: as in PowerZones; `takeovers`: how often its series has begun, or gone on, where
    another source's ended; `integration_uj`: as in PowerZones, of this series.
    """

    optional = frozenset(
        {
            "share_by",
            "model_error_ratio_ppm",
            "idle_method",
            "idle_doubt_uw",
            "interpolation_uj",
            "join_skew_ns",
            "disagreement_uj",
            "is_listed",
            "reading_interval_ns",
            "is_owner",
            "stream",
            "rank",
            "takeovers",
            "integration_uj",
        }
    )

    zone: list[str]
    index: list[str]
    source: list[str]
    provenance: list[str]
    model: list[str]
    error_ratio_ppm: U32
    watermark_mono_ns: U64
    measured_uj: U64
    idle_uj: U64
    idle_power_uw: U64
    gaps: U32
    share_by: list[str] = field(default_factory=list)
    model_error_ratio_ppm: U32 = field(default_factory=U32)
    idle_method: list[str] = field(default_factory=list)
    idle_doubt_uw: U64 = field(default_factory=U64)
    interpolation_uj: U64 = field(default_factory=U64)
    join_skew_ns: U64 = field(default_factory=U64)
    disagreement_uj: U64 = field(default_factory=U64)
    is_listed: U8 = field(default_factory=U8)
    reading_interval_ns: U64 = field(default_factory=U64)
    is_owner: U8 = field(default_factory=U8)
    stream: list[str] = field(default_factory=list)
    rank: U32 = field(default_factory=U32)
    takeovers: U32 = field(default_factory=U32)
    integration_uj: U64 = field(default_factory=U64)


class EnergySpares(Table, kw_only=True):
    """Zones that would be counted if those that own their slots had no readings; none of them is away."""

    zone: list[str]
    index: list[str]
    source: list[str]
    stream: list[str]
    rank: U32


def _no_spares() -> EnergySpares:
    return EnergySpares(zone=[], index=[], source=[], stream=[], rank=U32())


class EnergyUnattributed(Table, kw_only=True):
    """Energy that no workload was given, and why. `zone_row` counts in EnergyZones."""

    zone_row: U32
    mode: list[str]
    reason: list[str]
    energy_uj: U64


class EnergyContainers(Table, kw_only=True):
    """Totals per container, with the share of its processes that are no longer listed ("departed").

    A container in which virtual machines run has a row for each of them and one for the rest. What ended
    containers of a pod used is in a row whose container_id is "terminated"; that of ended pods and of
    containers without one in such a row without pod_uid. So a pod is the sum of its rows, a virtual machine
    that of its own, and the node that of all. `container_name` is what its engine or cluster calls
    it, `kind` and `is_awaited` as in metadata. Host processes likewise have a row for each `unit` (as in
    metadata) and one for the rest.
    """

    optional = frozenset({"vm_id", "container_name", "unit", "kind", "is_awaited"})
    column_lists = frozenset({"dynamic_uj", "idle_uj", "departed_dynamic_uj", "departed_idle_uj"})

    container_id: list[str]
    pod_uid: list[str]
    runtime: list[str]
    cpu_ns: U64
    departed_cpu_ns: U64
    dynamic_uj: list[U64]
    idle_uj: list[U64]
    departed_dynamic_uj: list[U64]
    departed_idle_uj: list[U64]
    vm_id: list[str] = field(default_factory=list)
    container_name: list[str] = field(default_factory=list)
    unit: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    is_awaited: U8 = field(default_factory=U8)


class EnergyProcesses(Table, kw_only=True):
    """Totals per process and cgroup; `container_row` counts in EnergyContainers."""

    column_lists = frozenset({"dynamic_uj", "idle_uj"})

    container_row: U32
    cgroup_id: U64
    pid: U32
    start_ticks: U64
    comm: list[str]
    cpu_ns: U64
    dynamic_uj: list[U64]
    idle_uj: list[U64]


class Energy(Frame, kw_only=True, tag_field="topic", tag="energy"):
    """Joules and usage per workload, zone and mode; the books close in each frame.

    Per zone: measured = Σ containers (dynamic + idle) + Σ unattributed, exactly;
    per container: its total = Σ its processes + its departed ones, exactly.
    """

    topic = "energy"

    idle_policy: str
    activity_epoch: Natural
    activity_mono_ns: Natural  # usage totals hold up to here
    activity_skew_ns: Natural = 0  # how far apart its rows were read
    zones: EnergyZones
    unattributed: EnergyUnattributed
    containers: EnergyContainers
    processes: EnergyProcesses
    sources: list[SourceState] = field(default_factory=list)
    absent: AbsentZones = field(default_factory=none_absent)  # as power reports them
    spares: EnergySpares = field(default_factory=_no_spares)
    pods: Pods = field(default_factory=no_pods)
    pod_labels: PodLabels = field(default_factory=no_pod_labels)
    machines: Machines = field(default_factory=no_machines)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_zones(self.zones)
        _check_zones(self.absent)
        _check_zones(self.spares)
        for table in (self.containers, self.processes):
            _check_column_lists(table, len(self.zones), "zone")
        for name, column, limit in (
            ("unattributed.zone_row", self.unattributed.zone_row, len(self.zones)),
            ("processes.container_row", self.processes.container_row, len(self.containers)),
        ):
            if column and max(column) >= limit:
                raise ValueError(f"{name}: expected rows below {limit}, got {max(column)}")


class Status(Frame, kw_only=True, tag_field="topic", tag="status"):
    """What a stage itself costs and what went wrong in it. Counters are since the start of the run."""

    topic = "status"

    service: str
    version: str
    pid: Natural
    cpu_ns: Natural
    memory_bytes: Natural
    frames_sent: Natural
    late_ticks: Natural
    frames_lost: dict[str, Natural] = field(default_factory=dict)  # by topic
    frames_refused: dict[str, Natural] = field(default_factory=dict)  # by reason
    errors: dict[str, Natural] = field(default_factory=dict)  # by event


AnyFrame = Activity | Power | Metadata | Energy | Status
FRAME_TYPES: dict[str, type[Any]] = {
    frame.topic: frame for frame in (Activity, Power, Metadata, Energy, Status)
}
