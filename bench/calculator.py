# SPDX-License-Identifier: Apache-2.0
"""What a window costs the calculator: time per workload, growth, memory, the ledger.

    python -m bench.calculator [PROCESSES…]

Two sockets, eight zones (package, core and dram of each, platform and other), every process busy in every
window, one in twenty new in each, twenty to a container. A window is an activity and a power frame taken,
attributed, its names settled, committed to the ledger and made into an energy frame's tables; encoding frames
is the wire's.
"""

import gc
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from services.calculator.energy_frame import energy_tables
from services.calculator.ledger_file import LedgerFile
from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.state import State
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    Activity,
    ActivityCgroups,
    ActivityPaths,
    ActivityProcesses,
    Cpus,
    Metadata,
    MetadataCgroups,
    MetadataProcesses,
    Power,
    PowerZones,
)

S = 1_000_000_000
SOCKETS = 2
CPUS = 64
IN_CONTAINER = 20
WINDOWS = 30
ZONES = [(zone, str(socket)) for zone in ("package", "core", "dram") for socket in range(SOCKETS)]
ZONES.append(("platform", "0"))


def header(mono_ns):
    return {
        "node": "bench",
        "boot_id": "boot",
        "producer": "bench",
        "epoch": S,
        "run": 1,
        "seq": 0,
        "mono_ns": mono_ns,
        "unix_ns": mono_ns,
        "interval_ns": S,
    }


def activity(processes, window):
    """Each has used 1 ms a window since it was born; one in twenty is new."""
    # A slot's process is replaced every twentieth window.
    born = [window - (window + slot) % 20 for slot in range(processes)]
    containers = -(-processes // IN_CONTAINER)
    cgroup_ids = [100 + slot // IN_CONTAINER for slot in range(processes)]
    lived = [window - begun + 1 for begun in born]
    return Activity(
        **header((100 + window) * S),
        source="ebpf",
        skew_ns=50_000,
        cpus=Cpus(
            cpu=U32(range(CPUS)),
            start_mono_ns=U64([S] * CPUS),
            stamp_mono_ns=U64([(100 + window) * S] * CPUS),
            idle_ns=U64([0] * CPUS),
            lost_ns=U64([0] * CPUS),
            socket=U32(cpu * SOCKETS // CPUS for cpu in range(CPUS)),
        ),
        cgroups=ActivityCgroups(
            cgroup_id=U64([100 + number for number in range(containers) for _socket in range(SOCKETS)]),
            socket=U32([socket for _number in range(containers) for socket in range(SOCKETS)]),
            cpu_ns=U64([IN_CONTAINER // SOCKETS * 1_000_000 * (window + 21)] * containers * SOCKETS),
        ),
        processes=ActivityProcesses(
            cgroup_id=U64(cgroup_ids),
            pid=U32(1000 + slot for slot in range(processes)),
            start_ticks=U64(1000 + begun for begun in born),
            flags=U8(bytes(processes)),
            comm=["worker"] * processes,
            socket=U32(slot % SOCKETS for slot in range(processes)),
            cpu_ns=U64(1_000_000 * windows for windows in lived),
        ),
        paths=ActivityPaths(
            cgroup_id=U64(100 + number for number in range(containers)),
            parent_id=U64([1] * containers),
            removed=U8(bytes(containers)),
            path=[f"/docker/{number:064x}" for number in range(containers)],
        ),
    )


def power(window):
    rows = len(ZONES)
    return Power(
        **header((100 + window) * S + S // 3),
        zones=PowerZones(
            zone=[zone for zone, _index in ZONES],
            index=[index for _zone, index in ZONES],
            source=["rapl-sysfs"] * rows,
            provenance=["measured"] * rows,
            model=[""] * rows,
            error_ratio_ppm=U32([0] * rows),
            mono_ns=U64([(100 + window) * S + S // 3] * rows),
            energy_uj=U64(
                [(100_000_000 if zone != "platform" else 900_000_000) * window for zone, _ in ZONES]
            ),
            raw=U64([0] * rows),
            raw_range=U64([0] * rows),
            raw_epoch=U64([0] * rows),
            gaps=U32([0] * rows),
        ),
    )


def names(processes):
    containers = -(-processes // IN_CONTAINER)
    found = Names()
    found.take_metadata(
        Metadata(
            **header(S),
            covers_epoch=0,
            covers_mono_ns=0,
            cgroups=MetadataCgroups(
                cgroup_id=U64(100 + number for number in range(containers)),
                path=[f"/docker/{number:064x}" for number in range(containers)],
                container_id=[f"{number:064x}" for number in range(containers)],
                runtime=["docker"] * containers,
                pod_uid=[""] * containers,
            ),
            processes=MetadataProcesses(pid=U32(), start_ticks=U64(), kernel=U8(), comm=[]),
        )
    )
    return found


def measure(processes, directory, policy):
    """Median ms of each part of a window, and MB of resident memory that the state takes."""
    gc.collect()
    before_bytes = resident_bytes()
    state, known, rules = State(1), names(processes), Rules(policy)
    ledger = LedgerFile(Path(directory) / f"ledger-{processes}-{policy}", "bench", "boot")
    parts = {"take": [], "attribute": [], "ledger": [], "tables": []}
    for window in range(WINDOWS):
        frame, reading = activity(processes, window), power(window)

        def timed(part, call):
            begun = time.perf_counter()
            call()
            parts[part].append((time.perf_counter() - begun) * 1e3)

        timed("take", lambda frame=frame: state.take_activity(frame, known))
        timed("attribute", lambda reading=reading: (state.take_power(reading, rules), state.attribute(rules)))
        now_ns = reading.mono_ns
        timed("ledger", lambda now_ns=now_ns: (state.settle_names(known, now_ns), ledger.commit(state)))
        timed("tables", lambda: energy_tables(state, rules))
    ledger_bytes = (Path(directory) / f"ledger-{processes}-{policy}").stat().st_size
    assert len(state.zones.zones) == len(ZONES) + 1
    ledger.close()
    taken_bytes = resident_bytes() - before_bytes
    return {part: statistics.median(times[5:]) for part, times in parts.items()}, taken_bytes, ledger_bytes


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main():
    sizes = [int(argument) for argument in sys.argv[1:]] or [100, 1000, 10_000]
    print("processes  policy   take  attribute  ledger  tables   whole ms   µs/workload  state MB  ledger MB")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        for policy in ("node", "even"):
            for processes in sizes:
                parts, taken_bytes, ledger_bytes = measure(processes, directory, policy)
                whole_ms = sum(parts.values())
                print(
                    f"{processes:9}  {policy:6} {parts['take']:6.2f} {parts['attribute']:10.2f} "
                    f"{parts['ledger']:7.2f} {parts['tables']:7.2f} {whole_ms:10.2f} "
                    f"{whole_ms * 1e3 / processes:13.2f} {taken_bytes / 1e6:9.1f} {ledger_bytes / 1e6:10.1f}"
                )


if __name__ == "__main__":
    main()
