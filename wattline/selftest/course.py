# SPDX-License-Identifier: Apache-2.0
"""The self-test's course: a quiet machine, then a busy one, then loads of known size, between two halts.

The loads are frozen at the beginning and at the end of the measured stretch, so that the kernel's account and
Wattline's stand still while they are read: what is compared is exactly the same work.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattline.cgroup2 import whole_mount
from wattline.errors import Fatal

from . import cgroups, pipeline, placing, truth
from .observer import Observer, idle_watts
from .placing import Load
from .scrape import Series, total_uj
from .simulated_rapl import SimulatedRapl

_NS_PER_S = 1_000_000_000
# Ours and the meter's.
_ZONES = {"package": "package-0", "core": "package-0/core", "dram": "package-0/dram"}
_COMPARED = ("package", "dram")  # core is a part of package
_MACHINE: dict[str, Any] = {
    "sockets": 1,
    "update_ms": 1,  # as Intel's
    # Wall time, as Wattline's: the account of tasks would lay wake-ups of a quiet machine on its busy time.
    "busy": "awake",
    "zones": {
        "package-0": {"idle_w": 20, "busy_w": 15},
        "package-0/core": {"idle_w": 6, "busy_w": 12},
        "package-0/dram": {"idle_w": 4, "busy_w": 1.5},
    },
}
# It knows CPU time and nothing else, so Wattline must not weigh it by cycles or cache misses.
_SETTINGS = '[probe]\nprobe.counters = ""\n'
_STAGE_S = 5.0  # of each utilisation that idle power is learned from
_NODE_PATIENCE_S = 15.0


@dataclass(frozen=True)
class Halt:
    """What both sides say while the loads stand still."""

    series: list[Series]
    cpu_ns: Mapping[str, int]  # by container, the kernel's account
    stolen_until_ns: int  # of all CPUs, when the loads stopped
    stolen_since_ns: int  # and when they went on


@dataclass(frozen=True)
class Outcome:
    """What the self-test found."""

    lines: list[truth.Line]
    residual: truth.Residual
    stolen_ns: int
    busy_source: str
    used: Sequence[tuple[str, int]]  # each load and its CPU time in ns, by the kernel's account
    quiet_ratio: float  # how busy the machine was by itself
    idle_learned: bool


def run(measured_s: float, shares_ratio: Sequence[float], *, learn_idle: bool = True) -> Outcome:
    """All of it; with idle power given if it isn't to be learned. Raises Fatal if the machine can't."""
    mount = whole_mount(Path("/proc"))
    if mount is None:
        raise Fatal("expected a mount of the whole cgroup2 hierarchy, found none")
    cpus = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix=f"wattline-selftest-{os.getpid()}-"))
        )
        rapl = stack.enter_context(SimulatedRapl(directory / "sys", _MACHINE))
        containers = stack.enter_context(cgroups.containers(mount, len(shares_ratio) + 1))
        background = stack.enter_context(cgroups.background(mount))
        processes = stack.enter_context(placing.running())
        settings = _SETTINGS if learn_idle else _SETTINGS + _idle_setting()
        observer = Observer(stack.enter_context(pipeline.running(rapl.sysfs, settings)))
        _say("services start, on a simulated machine")
        observer.wait_ready()
        _say(f"the machine is quiet, then half, then all of it is kept busy ({3 * _STAGE_S:.0f} s)")
        quiet = rapl.truth()
        observer.watch(_STAGE_S)
        quiet_ratio = _busy_ratio(quiet, rapl.truth(), len(cpus))
        half = max(1, len(cpus) // 2)
        for stage in (cpus[:half], cpus[half:]):
            processes.start_fillers(background, stage)  # and they stay: see loads.py
            observer.watch(_STAGE_S)
        loads = placing.placed(shares_ratio, containers, cpus)
        processes.start_loads(loads)
        _say("loads run: " + "; ".join(load.who for load in loads))
        if not observer.wait_steady():
            _say("idle power does not get steady; measuring all the same")
        begin = _halt(observer, loads)
        _say(f"measuring for {measured_s:g} s")
        observer.watch(measured_s)
        end = _halt(observer, loads)
        rapl.freeze()
        node_uj = _node_uj(observer, rapl)
        log = rapl.truth()
    lines = [
        *_container_lines(loads, begin, end),
        *_node_lines(node_uj, log["zones"]),
        *(_idle_lines(idle_watts(end.series)) if learn_idle else ()),
    ]
    return Outcome(
        lines,
        observer.residual,
        _stolen_between(begin, end),
        log["busy_source"],
        [(load.who, _used_ns(load, begin, end)) for load in loads],
        quiet_ratio,
        learn_idle,
    )


def _halt(observer: Observer, loads: Sequence[Load]) -> Halt:
    """Freeze the loads, wait until Wattline has attributed up to there, read both, let them go on."""
    for load in loads:
        load.cgroup.freeze(frozen=True)
    frozen_unix_s, stolen_until_ns = time.time(), stolen_ns()
    series = observer.wait_attributed(frozen_unix_s)
    cpu_ns = {load.cgroup.name: load.cgroup.cpu_ns() for load in loads}
    stolen_since_ns = stolen_ns()
    for load in loads:
        load.cgroup.freeze(frozen=False)
    return Halt(series, cpu_ns, stolen_until_ns, stolen_since_ns)


def _node_uj(observer: Observer, rapl: SimulatedRapl) -> dict[str, int]:
    """Each zone's energy, once all that the meter has counted has arrived, or when patience is at its end."""

    def found_uj(series: list[Series]) -> dict[str, int]:
        return {zone: total_uj(series, f"kepler_node_{zone}_joules_total") for zone in _ZONES}

    def has_all(series: list[Series]) -> bool:
        log = rapl.log()
        return all(uj == log[_ZONES[zone]]["energy_uj"] for zone, uj in found_uj(series).items())

    return found_uj(observer.last_scrape(has_all, _NODE_PATIENCE_S))


def _container_lines(loads: Sequence[Load], begin: Halt, end: Halt) -> list[truth.Line]:
    lines = []
    for zone in _COMPARED:
        busy_uw = _law_uw(zone, "busy_w")
        for load in loads:
            gained_uj = _dynamic_uj(end, load, zone) - _dynamic_uj(begin, load, zone)
            used_ns, stolen = _used_ns(load, begin, end), _stolen_between(begin, end)
            lines.append(truth.container(f"{load.who}, {zone}", used_ns, busy_uw, gained_uj, stolen))
    return lines


def _node_lines(node_uj: Mapping[str, int], log: Mapping[str, Any]) -> list[truth.Line]:
    return [truth.node(f"node, {zone}", log[key]["energy_uj"], node_uj[zone]) for zone, key in _ZONES.items()]


def _idle_setting() -> str:
    figures = ",".join(f"{zone}={_MACHINE['zones'][key]['idle_w']}" for zone, key in _ZONES.items())
    return f'[calculator]\nidle-power = "{figures}"\n'


def _idle_lines(learned_w: Mapping[str, float]) -> list[truth.Line]:
    return [
        truth.idle(f"idle power, {zone}", _law_uw(zone, "idle_w"), round(learned_w.get(zone, 0.0) * 1e6))
        for zone in _ZONES
    ]


def _dynamic_uj(halt: Halt, load: Load, zone: str) -> int:
    name = f"kepler_container_{zone}_joules_total"
    return total_uj(halt.series, name, container_id=load.cgroup.name, mode="dynamic")


def _used_ns(load: Load, begin: Halt, end: Halt) -> int:
    return end.cpu_ns[load.cgroup.name] - begin.cpu_ns[load.cgroup.name]


def _stolen_between(begin: Halt, end: Halt) -> int:
    return end.stolen_until_ns - begin.stolen_since_ns


def _law_uw(zone: str, figure: str) -> int:
    watts: float = _MACHINE["zones"][_ZONES[zone]][figure]
    return round(watts * 1e6)


def _busy_ratio(before: Mapping[str, Any], after: Mapping[str, Any], cpus: int) -> float:
    busy_ns = sum(after["busy_ns"].values()) - sum(before["busy_ns"].values())
    return float(busy_ns / (after["elapsed_ns"] - before["elapsed_ns"]) / cpus)


def stolen_ns() -> int:
    """Time that a hypervisor gave to others while we wanted to run, all CPUs, in steps of a tick (10 ms)."""
    total = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    return int(total[8]) * _NS_PER_S // os.sysconf("SC_CLK_TCK")


def _say(text: str) -> None:
    print(f"selftest: {text}", flush=True)
