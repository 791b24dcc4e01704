# SPDX-License-Identifier: Apache-2.0
"""A short-lived child of the probe: compiles, attaches and pins the eBPF program, then exits.

It is a process of its own because BCC brings Clang and LLVM, over 100 MB, which the long-running reader
must not carry. Usage: python -m services.probe.load PIN_DIRECTORY PROCESS_ROWS CGROUP_ROWS
"""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from wattline.errors import Fatal

from . import bpf_syscall as bpf
from . import layout
from .mounts import TRACEFS, have_mounted
from .processes import running_processes

_NS_PER_S = 1_000_000_000


def load(pin_directory: Path, process_rows: int, cgroup_rows: int) -> None:
    """Compile, attach, pin under `pin_directory` (all or nothing: it appears by rename)."""
    have_mounted("tracefs", TRACEFS)
    program = _compile(process_rows, cgroup_rows)
    staging = pin_directory.with_name(f"loading-{os.getpid()}")  # bpffs allows no dot in a name
    staging.mkdir(mode=0o700)
    try:
        _attach_and_pin(program, staging)
        _seed(program)
        staging.rename(pin_directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _compile(process_rows: int, cgroup_rows: int) -> Any:
    # BCC looks for a kernel source tree; a tiny one of our own satisfies it, for the program takes all
    # its fields from tracepoint formats and helpers.
    os.environ["BCC_KERNEL_SOURCE"] = str(layout.KERNEL_HEADERS)
    try:
        from bcc import BPF  # noqa: PLC0415 the heavy import is this process's reason to exist
    except ImportError as error:
        raise Fatal(
            f"BCC is not importable ({error}); install the distribution's package python3-bpfcc "
            "(see docs/install.md)",
            Fatal.SETTINGS,
        ) from None
    try:
        program = BPF(
            src_file=str(layout.SOURCE),
            cflags=[f"-DPROCESS_ROWS={process_rows}", f"-DCGROUP_ROWS={cgroup_rows}"],
        )
        for name in (*layout.RAW_TRACEPOINTS, layout.FLUSH):
            program.load_func(name, BPF.RAW_TRACEPOINT)
        for name in layout.TRACEPOINTS:
            program.load_func(name, BPF.TRACEPOINT)
    except Exception as error:  # noqa: BLE001 BCC raises plain Exception
        raise Fatal(f"the kernel or the compiler refused the eBPF program: {error}", _exit_code()) from None
    return program


def _exit_code() -> int:
    return Fatal.FAILED if os.geteuid() == 0 else Fatal.PERMISSION


def _attach_and_pin(program: Any, directory: Path) -> None:
    for name in layout.MAPS:
        bpf.pin(program[name].map_fd, directory / name)
    epoch = layout.TOTALS.pack(time.monotonic_ns(), 0, 0, 0)
    bpf.update(program["totals"].map_fd, layout.KEY.pack(0), epoch)
    flush_fd = program.funcs[layout.FLUSH.encode()].fd
    bpf.pin(flush_fd, directory / layout.FLUSH)
    for name, tracepoint in layout.TRACEPOINTS.items():
        number = int((TRACEFS / "events" / tracepoint / "id").read_text(encoding="ascii"))
        link = bpf.link_tracepoint(program.funcs[name.encode()].fd, number)
        bpf.pin(link, directory / f"link_{name}")
    for name, tracepoint in layout.RAW_TRACEPOINTS.items():
        program.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=name.encode())
        bpf.pin(program.raw_tracepoint_fds[tracepoint.encode()], directory / f"link_{name}")
    for cpu in os.sched_getaffinity(0) | set(range(os.cpu_count() or 1)):
        # Offline CPUs begin their account when they come.
        with contextlib.suppress(OSError):
            bpf.run_on_cpu(flush_fd, cpu)


def _seed(program: Any) -> None:
    """Names for processes born before the probe. Births from now on are the kernel's own business."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    identities, generations = program["identities"].map_fd, program["generations"].map_fd
    for process in running_processes(Path("/proc")):
        generation = layout.SEED_GENERATION | process.pid
        start_boot_ns = process.start_ticks * _NS_PER_S // ticks_per_s
        flags = layout.FLAG_KERNEL_THREAD if process.kernel else 0
        identity = layout.IDENTITY.pack(start_boot_ns, 0, process.pid, flags, process.comm)
        key = layout.KEY.pack(process.pid)
        ended = layout.IDENTITY.pack(start_boot_ns, time.monotonic_ns(), process.pid, flags, process.comm)
        with contextlib.suppress(OSError):  # full: named by pid alone; exists: born since, and known
            bpf.update(generations, key, layout.OWNER.pack(generation, 0), bpf.UPDATE_NOEXIST)
            bpf.update(identities, layout.KEY.pack(generation), identity)
            if not Path(f"/proc/{process.pid}").exists():
                # It ended meanwhile, perhaps before its seed was there to be marked.
                bpf.update(identities, layout.KEY.pack(generation), ended)


def main() -> int:
    """Exit code 0, or that of the failure with its message on standard error."""
    directory, process_rows, cgroup_rows = sys.argv[1:]
    try:
        load(Path(directory), int(process_rows), int(cgroup_rows))
    except Fatal as error:
        print(error, file=sys.stderr)  # noqa: T201 read by the parent
        return error.exit_code
    except PermissionError as error:
        print(f"{error}; loading needs CAP_BPF and CAP_PERFMON (or root)", file=sys.stderr)  # noqa: T201
        return Fatal.PERMISSION
    return 0


if __name__ == "__main__":
    sys.exit(main())
