# SPDX-License-Identifier: Apache-2.0
"""How long the text of a scrape takes, ours against prometheus-client's, for the same series in one run.

    python -m bench.exposition [PROCESSES]

Ours is timed from the energy frame to the bytes; prometheus-client's from ready-made label values, which
leaves out what finding them costs. Absolute times depend on the machine: quote the ratio.
"""

import gzip
import random
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.exporter import exposition, kepler_0_8, wattline_metrics
from services.exporter.superseded import fold_superseded
from wattline.wire.columns import U32, U64
from wattline.wire.frames import Energy, EnergyContainers, EnergyProcesses, EnergyUnattributed, EnergyZones

PROCESSES = 10_000
CONTAINERS = 200
REPEATS = 7
ZONES = ("package", "core", "dram", "platform")
COMMANDS = [f"worker-{number}" for number in range(50)]


def frame(processes: int) -> Energy:
    """A busy node: all processes in 200 containers, four zones, idle energy with nobody."""
    chance = random.Random(1)  # noqa: S311 the same load every time
    zones = len(ZONES)

    def column(rows: int) -> U64:
        return U64([chance.randrange(10**12) for _ in range(rows)])

    def columns(rows: int) -> list[U64]:
        return [column(rows) for _ in range(zones)]

    nothing = [U64([0] * CONTAINERS) for _ in range(zones)]
    return Energy(
        node="bench",
        boot_id="b",
        producer="calculator",
        epoch=1,
        run=1,
        seq=1,
        mono_ns=10**12,
        unix_ns=17 * 10**17,
        interval_ns=10**9,
        idle_policy="node",
        activity_epoch=1,
        activity_mono_ns=10**12,
        zones=EnergyZones(
            zone=list(ZONES),
            index=["0"] * zones,
            source=["rapl-sysfs"] * zones,
            provenance=["measured"] * zones,
            model=[""] * zones,
            error_ratio_ppm=U32([0] * zones),
            watermark_mono_ns=U64([10**12] * zones),
            measured_uj=U64([10**13] * zones),
            idle_uj=U64([10**12] * zones),
            idle_power_uw=U64([10**7] * zones),
            gaps=U32([0] * zones),
        ),
        unattributed=EnergyUnattributed(zone_row=U32(), mode=[], reason=[], energy_uj=U64()),
        containers=EnergyContainers(
            container_id=[f"{chance.randrange(16**64):064x}" for _ in range(CONTAINERS)],
            pod_uid=[""] * CONTAINERS,
            runtime=["containerd"] * CONTAINERS,
            cpu_ns=column(CONTAINERS),
            departed_cpu_ns=column(CONTAINERS),
            dynamic_uj=columns(CONTAINERS),
            idle_uj=nothing,
            departed_dynamic_uj=columns(CONTAINERS),
            departed_idle_uj=nothing,
        ),
        processes=EnergyProcesses(
            container_row=U32([chance.randrange(CONTAINERS) for _ in range(processes)]),
            cgroup_id=U64(range(processes)),
            pid=U32(range(1, processes + 1)),
            start_ticks=U64(range(processes)),
            comm=[chance.choice(COMMANDS) for _ in range(processes)],
            cpu_ns=column(processes),
            dynamic_uj=columns(processes),
            idle_uj=[U64([0] * processes) for _ in range(zones)],
        ),
    )


def ours(energy: Energy) -> bytes:
    """The books' text, as a scrape makes it."""
    folded = fold_superseded(energy)
    return exposition.text([*kepler_0_8.families(folded, "x86_64"), *wattline_metrics.families(folded)])


class SameProcesses:
    """The process series of the same frame, as one would write them with prometheus-client."""

    def __init__(self, energy: Energy) -> None:
        self._energy = energy
        processes = energy.processes
        self._labels = [
            [str(pid), energy.containers.container_id[row], "", comm]
            for pid, row, comm in zip(processes.pid, processes.container_row, processes.comm, strict=True)
        ]

    def collect(self):
        """The families."""
        processes = self._energy.processes
        names = ["pid", "container_id", "vm_id", "command", "mode", "source"]
        summed = [a + b for a, b in zip(processes.dynamic_uj[0], processes.dynamic_uj[2], strict=True)]
        for zone, source, column in [
            *(
                (f"_{zone}", "rapl-sysfs", column)
                for zone, column in zip(ZONES, processes.dynamic_uj, strict=True)
            ),
            ("", "", summed),
        ]:
            family = CounterMetricFamily(f"kepler_process{zone}_joules", "Energy in joules.", labels=names)
            for labels, value in zip(self._labels, column, strict=True):
                family.add_metric([*labels, "dynamic", source], value / 1e6)
            yield family
        times = CounterMetricFamily(
            "kepler_process_bpf_cpu_time_ms", "CPU time in ms.", labels=[*names[:4], "source"]
        )
        for labels, value in zip(self._labels, processes.cpu_ns, strict=True):
            times.add_metric([*labels, "bpf"], value / 1e6)
        yield times


def timed(make) -> tuple[float, bytes]:
    """(shortest time of some runs in s, what was made)."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        made = make()
        times.append(time.perf_counter() - begun)
    return min(times), made


def report(name: str, seconds: float, text: bytes) -> float:
    """Print a line; µs per series."""
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    each_us = seconds * 1e6 / series
    megabytes, milliseconds = len(text) / 1e6, seconds * 1e3
    print(
        f"{name:<26}{series:>8} series{megabytes:>6.1f} MB{milliseconds:>7.0f} ms{each_us:>7.2f} µs a series"
    )
    return each_us


def main() -> None:
    """Measure and print."""
    energy = frame(int(sys.argv[1]) if len(sys.argv) > 1 else PROCESSES)
    registry = CollectorRegistry()
    registry.register(SameProcesses(energy))
    own = report("wattline, frame to bytes", *timed(lambda: ours(energy)))
    other = report("prometheus-client", *timed(lambda: generate_latest(registry)))
    print(f"prometheus-client takes {other / own:.1f} times as long a series")
    text = ours(energy)
    for level in (1, 6):
        seconds, packed = timed(lambda level=level: gzip.compress(text, level))
        print(f"gzip level {level}: {seconds * 1e3:.0f} ms, {len(packed) / 1e6:.2f} MB")


main()
