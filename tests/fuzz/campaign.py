# SPDX-License-Identifier: Apache-2.0
"""One fuzzer at work in this process: input after input, each with its faults, time and memory.

An input follows from the seed and its number alone, so any of them can be made again by itself.
"""

import ctypes
import gc
import os
import resource
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .decoder import Decoder, Input, size_bytes

# "A few times its input": the bytes themselves, a copy, and what is made of them.
MEMORY_RATIO_MAX = 4
MEMORY_FIXED_BYTES = 8 * 1024 * 1024  # interpreter, allocator, caches
# Far above what any input takes (milliseconds, and some 0.1 s a MB): seconds of this process's own CPU time.
CPU_S_MAX = 5.0
CPU_S_PER_MB_MAX = 1.0
# Where the process does not get on at all, the kernel ends it.
HANG_S = 120.0
_FAULTS_MAX = 20
_TRIM_ABOVE_BYTES = 256 * 1024
# Far above the rule, far below what would harm the machine.
_ADDRESS_SPACE_MAX = 6 * 1024**3


@dataclass
class Outcome:
    """What came of a campaign. `faults` by kind: the first input that showed it, and its words."""

    seed: str
    inputs: int = 0
    accepted: int = 0
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    memory_bytes_max: int = 0  # most that one input took
    memory_input_bytes: int = 0  # and how large it was
    cpu_s_max: float = 0.0
    rss_before_bytes: int = 0
    rss_after_bytes: int = 0

    def fault(self, kind: str, number: int, words: str) -> None:
        """Keep the first one of each kind."""
        if len(self.faults) < _FAULTS_MAX:
            self.faults.setdefault(kind, (number, words))


def input_of(decoder: Decoder, seed: str, number: int) -> Input:
    """The input of this number."""
    if number < len(decoder.fixed):
        return decoder.fixed[number]()
    return decoder.make(Random(f"{seed}/{number}"))


def run(decoder: Decoder, seed: str, progress: Path, inputs: int | None, seconds: float | None) -> Outcome:
    """So many inputs, or as many as there is time for; `progress` has the number of the present one."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_MAX, _ADDRESS_SPACE_MAX))
    outcome = Outcome(seed)
    _warm_up(decoder)
    outcome.rss_before_bytes = _memory("VmRSS")
    deadline_s = time.monotonic() + (seconds or float("inf"))
    with progress.open("wb", buffering=0) as file:
        while outcome.inputs != inputs and time.monotonic() < deadline_s:
            number = outcome.inputs
            os.pwrite(file.fileno(), b"%020d" % number, 0)
            _one(decoder, outcome, number, input_of(decoder, seed, number))
            outcome.inputs += 1
    gc.collect()
    outcome.rss_after_bytes = _memory("VmRSS")
    return outcome


def _warm_up(decoder: Decoder) -> None:
    """Load what is loaded at first use, so that it counts for no input."""
    for number in range(50):
        try:
            decoder.decode(decoder.make(Random(f"warm/{number}")))
        except Exception:  # noqa: BLE001, S112 the campaign looks at errors
            continue


def _one(decoder: Decoder, outcome: Outcome, number: int, data: Input) -> None:
    size = size_bytes(data)
    if size > _TRIM_ABOVE_BYTES:
        gc.collect()
        _LIBC.malloc_trim(0)
    _reset_peak()
    before_bytes = _memory("VmRSS")
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    begun_s = time.process_time()
    try:
        decoder.decode(data)
        outcome.accepted += 1
    except decoder.errors:
        pass
    except Exception as error:  # noqa: BLE001 this is what is looked for
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}:{at.lineno}"
        outcome.fault(f"{type(error).__name__} at {where}", number, f"{error!s:.300}")
    cpu_s = time.process_time() - begun_s
    signal.setitimer(signal.ITIMER_REAL, 0)
    took_bytes = _memory("VmHWM") - before_bytes
    if took_bytes > outcome.memory_bytes_max:
        outcome.memory_bytes_max, outcome.memory_input_bytes = took_bytes, size
    outcome.cpu_s_max = max(outcome.cpu_s_max, cpu_s)
    if took_bytes > MEMORY_RATIO_MAX * size + MEMORY_FIXED_BYTES:
        outcome.fault("memory", number, f"{took_bytes:,} bytes of memory for {size:,} bytes of input")
    if cpu_s > CPU_S_MAX + CPU_S_PER_MB_MAX * size / 1e6:
        outcome.fault("time", number, f"{cpu_s:.1f} s of CPU time for {size:,} bytes of input")


_LIBC = ctypes.CDLL(None)


def _reset_peak() -> None:
    """Let VmHWM begin again at the present VmRSS; man 5 proc, clear_refs."""
    descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    os.write(descriptor, b"5")
    os.close(descriptor)


def _memory(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    descriptor = os.open("/proc/self/status", os.O_RDONLY)
    text = os.read(descriptor, 4096)
    os.close(descriptor)
    return int(text.partition(name.encode() + b":")[2].split(None, 1)[0]) * 1024
