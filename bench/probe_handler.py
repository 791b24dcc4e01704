# SPDX-License-Identifier: Apache-2.0
"""What the probe's context-switch handler costs, beside an empty program, by the kernel's own statistics.

Needs root, `perf` and `hackbench`. Usage: python -m bench.probe_handler [ROUNDS, default 5]

All programs take turns under the same load in one run; the figure that means something is the ratio to the
empty one. (Statistics themselves cost some 60 ns a call, which is in both.) Prints the median of the rounds.
"""

import ctypes
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.probe.ebpf import bpf_syscall as bpf
from services.probe.ebpf import cpus, layout, perf_events
from services.probe.ebpf.compile import kernel_hooks
from services.probe.ebpf.find_bcc import make_importable
from tests.probe.bpf_objects import run_statistics

LOADS = {
    "pipe": ["perf", "bench", "sched", "pipe", "-l", "100000"],
    "hackbench": ["hackbench", "-g", "4", "-l", "800"],
}
HANDLER = "on_sched_switch"
ENABLE_STATS = 32  # BPF_ENABLE_STATS

# Steps towards the handler, each with what the one before has.
PREFIX = "BPF_PERCPU_ARRAY(cells, u64, 8); int on_sched_switch(void *context) { u32 zero = 0;"
STEPS = {
    "empty": "int on_sched_switch(void *context) { return 0; }",
    "+ find this CPU's account": PREFIX
    + " u64 *cell = cells.lookup(&zero); if (cell) *cell += 1; return 0; }",
    "+ read the clock": PREFIX
    + " u64 *cell = cells.lookup(&zero); if (cell) *cell = bpf_ktime_get_ns(); return 0; }",
    "+ ask who leaves": PREFIX
    + " u64 *cell = cells.lookup(&zero); if (cell) *cell = bpf_ktime_get_ns() + bpf_get_current_pid_tgid()"
    " + bpf_get_current_cgroup_id(); return 0; }",
}

Attached = tuple[Any, int]  # the BCC object, and the descriptor of its handler
PLAIN = layout.Features()


class EnableStats(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32),)


def attach_step(source: str) -> Attached:
    make_importable()
    from bcc import BPF  # noqa: PLC0415 needs the kernel tree in the environment

    program = BPF(text=source)
    program.load_func(HANDLER, BPF.RAW_TRACEPOINT)
    program.attach_raw_tracepoint(tp="sched_switch", fn_name=HANDLER)
    return program, program.funcs[HANDLER.encode()].fd


def attach_probe(
    features: layout.Features = PLAIN, *, hooks: bool = True, self_flush: bool = False
) -> Attached:
    """The real program with all of its hooks, or with the handler alone."""
    make_importable()
    from bcc import BPF  # noqa: PLC0415

    count = cpus.possible_count(Path("/sys"))
    wanted = layout.Program(32768, 8192, count, features, self_flush)
    kinds = kernel_hooks()
    program = BPF(text=layout.source_text(), cflags=[*wanted.defines, *kinds.defines, "-DWITH_PAGE_FENTRY=0"])
    for cpu in range(count) if features.counters else ():
        tables = (program[name].map_fd for name in ("perf_events", "counters_opened"))
        perf_events.give_counters(*tables, features.counters, cpu, count)
    if hooks:
        for name, tracepoint in kinds.classic.items():
            program.load_func(name, BPF.TRACEPOINT)
            program.attach_tracepoint(tp=tracepoint.replace("/", ":"), fn_name=name)
    for name, tracepoint in kinds.raw.items():
        if hooks or name == HANDLER:
            program.load_func(name, BPF.RAW_TRACEPOINT)
            program.attach_raw_tracepoint(tp=tracepoint, fn_name=name)
    return program, program.funcs[HANDLER.encode()].fd


VARIANTS: dict[str, Callable[[], Attached]] = {
    **{name: (lambda source=source: attach_step(source)) for name, source in STEPS.items()},
    "the handler alone": lambda: attach_probe(hooks=False),
    "THE PROBE, all hooks": attach_probe,
    "… CPUs flush themselves": lambda: attach_probe(self_flush=True),
    "… weighted by clock": lambda: attach_probe(layout.Features(frequency=True)),
    "… and 1 counter": lambda: attach_probe(layout.Features(counters=("cpu_clock",))),
    "… and 4 counters": lambda: attach_probe(layout.Features(counters=("cpu_clock",) * 4)),
}


def measure(attach: Callable[[], Attached], command: list[str]) -> float:
    """Nanoseconds a call under a load."""
    program, handler = attach()
    try:
        before_ns, before = run_statistics(handler)
        subprocess.run(command, check=True, capture_output=True)
        after_ns, after = run_statistics(handler)
    finally:
        program.cleanup()
    return (after_ns - before_ns) / (after - before)


def pipe_ops_per_s() -> float:
    output = subprocess.run(LOADS["pipe"], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"([\d.]+) ops/sec", output)[1])  # type: ignore[index]


def throughput(rounds: int) -> None:
    """The pipe benchmark without and with the probe, in turns, statistics off."""
    without, with_probe = [], []
    for _round in range(rounds):
        without.append(pipe_ops_per_s())
        program, _handler = attach_probe()
        try:
            with_probe.append(pipe_ops_per_s())
        finally:
            program.cleanup()
    ratios = [b / a for a, b in zip(without, with_probe, strict=True)]
    print(
        f"\npipe throughput with the probe ÷ without: median {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}); without: {statistics.median(without):,.0f} a second"
    )


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    os.environ["BCC_KERNEL_SOURCE"] = str(layout.KERNEL_HEADERS)
    stats = bpf._bpf(ENABLE_STATS, EnableStats(type=0))  # noqa: SLF001
    costs: dict[tuple[str, str], list[float]] = {}
    for _round in range(rounds):
        for load, command in LOADS.items():
            for name, attach in VARIANTS.items():
                costs.setdefault((name, load), []).append(measure(attach, command))
    os.close(stats)
    print(f"{'ns a call (÷ empty), median of ' + str(rounds):36}" + "".join(f"{load:>22}" for load in LOADS))
    for name in VARIANTS:
        cells = ""
        for load in LOADS:
            ns = statistics.median(costs[name, load])
            ratios = [a / b for a, b in zip(costs[name, load], costs["empty", load], strict=True)]
            cells += f"{ns:10.0f} ({statistics.median(ratios):5.2f})    "
        print(f"{name:36}{cells}")
    throughput(rounds)


if __name__ == "__main__":
    main()
