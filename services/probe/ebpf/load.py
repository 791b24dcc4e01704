# SPDX-License-Identifier: Apache-2.0
"""A short-lived child of the probe: compiles, attaches and pins the eBPF program, then exits.

It is a process of its own because BCC brings Clang and LLVM, over 100 MB, which the long-running reader
must not carry. Arguments: PIN_DIRECTORY PROGRAM-AS-JSON

Once compiled it says "compiled" and waits for a line: until then the probe reads from a former program.
"""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from wattline import cgroup2
from wattline.errors import Fatal

from ..processes import running_processes
from . import bpf_syscall as bpf
from . import cpus, layout, perf_events
from .find_bcc import make_importable
from .mounts import TRACEFS, have_mounted

_NS_PER_S = 1_000_000_000
_PROCFS, _SYSFS = Path("/proc"), Path("/sys")
_VMLINUX_BTF = _SYSFS / "kernel/btf/vmlinux"


class Loader:
    """One program, from its source to its pins."""

    def __init__(self, wanted: layout.Program) -> None:
        have_mounted("tracefs", TRACEFS)
        self._wanted = wanted
        self._optional = _optional_tracepoints()
        self._program = self._compile()
        self._load_functions()

    def pin(self, directory: Path) -> None:
        """Attach and pin, all or nothing: the directory appears by rename."""
        staging = directory.with_name(f"loading-{os.getpid()}")  # bpffs allows no dot in a name
        staging.mkdir(mode=0o700)
        try:
            self._attach_and_pin(staging)
            staging.rename(directory)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _compile(self) -> Any:
        # BCC looks for a kernel source tree; a tiny one of our own satisfies it, for the program takes all
        # its fields from tracepoint formats and helpers.
        os.environ["BCC_KERNEL_SOURCE"] = str(layout.KERNEL_HEADERS)
        try:
            make_importable()
            from bcc import BPF  # noqa: PLC0415 the heavy import is this process's reason to exist
        except (ImportError, OSError) as error:  # the second: its shared library is missing
            raise Fatal(
                f"BCC is not importable ({error}); install the distribution's package, python3-bpfcc on "
                "Debian and Ubuntu (see docs/install.md)",
                Fatal.SETTINGS,
            ) from None
        self._types = {"raw": BPF.RAW_TRACEPOINT, "tracepoint": BPF.TRACEPOINT}
        if "on_page_read" not in self._optional and _VMLINUX_BTF.exists():
            with contextlib.suppress(
                Exception
            ):  # BCC raises plain Exception; then pages read are not counted
                return BPF(text=layout.source_text(), cflags=[*self._wanted.defines, "-DWITH_PAGE_FENTRY=1"])
        try:
            return BPF(text=layout.source_text(), cflags=[*self._wanted.defines, "-DWITH_PAGE_FENTRY=0"])
        except Exception as error:  # noqa: BLE001 BCC raises plain Exception
            raise Fatal(f"the eBPF program could not be compiled: {error}", _exit_code()) from None

    def _load_functions(self) -> None:
        try:
            for name in (*layout.RAW_TRACEPOINTS, *layout.OPTIONAL_RAW_TRACEPOINTS, *layout.CALLED):
                self._program.load_func(name, self._types["raw"])
            for name in layout.TRACEPOINTS:
                self._program.load_func(name, self._types["tracepoint"])
        except Exception as error:  # noqa: BLE001 BCC raises plain Exception
            raise Fatal(f"the kernel refused the eBPF program: {error}", _exit_code()) from None

    def _attach_and_pin(self, directory: Path) -> None:
        for name in (*layout.MAPS, *(["perf_events"] if self._wanted.features.counters else [])):
            bpf.pin(self._map(name), directory / name)
        for name in layout.CALLED:
            bpf.pin(self._function(name), directory / name)
        self._describe_cpus()
        self._open_counters()
        for name, tracepoint in layout.TRACEPOINTS.items():
            self._attach_tracepoint(name, tracepoint, directory)
        self._seed_processes()
        self._seed_cgroups()
        bpf.update(self._map("epoch"), layout.INDEX.pack(0), layout.EPOCH.pack(time.monotonic_ns()))
        # sched_switch comes last: it takes whom it does not know for a process whose birth was missed.
        for name, tracepoint in {**self._optional, **layout.RAW_TRACEPOINTS}.items():
            self._program.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=name.encode())
            bpf.pin(self._program.raw_tracepoint_fds[tracepoint.encode()], directory / f"link_{name}")
        # For on_page_read, where the kernel has no such tracepoint but lets us attach to functions.
        for fentry in self._program.kfunc_entry_fds.values():
            bpf.pin(fentry, directory / "link_on_page_read")
        for cpu in range(self._wanted.cpus):
            with contextlib.suppress(OSError):  # an offline CPU begins its account when it comes
                bpf.run_on_cpu(self._function("flush"), cpu)

    def _attach_tracepoint(self, name: str, tracepoint: str, directory: Path) -> None:
        number = int((TRACEFS / "events" / tracepoint / "id").read_text(encoding="ascii"))
        event = perf_events.open_tracepoint(number)
        try:
            bpf.pin(bpf.link_perf_event(self._function(name), event), directory / f"link_{name}")
        finally:
            os.close(event)  # the link holds it

    def _describe_cpus(self) -> None:
        for cpu, socket in cpus.sockets(_SYSFS, range(self._wanted.cpus)).items():
            bpf.update(self._map("cpu_settings"), layout.INDEX.pack(cpu), layout.CPU_SETTING.pack(socket, 0))

    def _open_counters(self) -> None:
        names = self._wanted.features.counters
        for cpu in cpus.online(_SYSFS) if names else ():
            perf_events.give_counters(
                self._map("perf_events"), self._map("counters_opened"), names, cpu, self._wanted.cpus
            )

    def _seed_processes(self) -> None:
        """Names for processes born before the probe. Births from now on are the kernel's own business."""
        identities, owners = self._map("identities"), self._map("owners")
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        for process in running_processes(_PROCFS):
            generation = layout.SEED_GENERATION | process.pid
            start_boot_ns = process.start_ticks * _NS_PER_S // ticks_per_s
            described = (process.pid, layout.FLAG_KERNEL_THREAD if process.kernel else 0, process.comm)
            pid, key = layout.INDEX.pack(process.pid), layout.INDEX.pack(generation)
            with contextlib.suppress(OSError):  # full: named by pid alone; exists: born since, and known
                bpf.update(owners, pid, layout.OWNER.pack(generation, 0), bpf.UPDATE_NOEXIST)
                bpf.update(identities, key, layout.IDENTITY.pack(start_boot_ns, 0, *described))
                if not (_PROCFS / str(process.pid)).exists():
                    # It ended meanwhile, perhaps before its seed was there to be marked.
                    ended = layout.IDENTITY.pack(start_boot_ns, time.monotonic_ns(), *described)
                    bpf.update(identities, key, ended)

    def _seed_cgroups(self) -> None:
        """Paths of cgroups made before the probe. Those made since are known from the kernel."""
        mount = cgroup2.whole_mount(_PROCFS)
        for cgroup_id, path in cgroup2.walk(mount) if mount is not None else [(cgroup2.ROOT_ID, "/")]:
            key = layout.CGROUP_ID.pack(cgroup_id)
            with contextlib.suppress(OSError):  # full: nameless; exists: known
                bpf.update(self._map("removals"), key, layout.REMOVAL.pack(0), bpf.UPDATE_NOEXIST)
                text = os.fsencode(path)[: layout.PATH_BYTES - 1].ljust(layout.PATH_BYTES, b"\0")
                bpf.update(self._map("paths"), key, text)

    def _map(self, name: str) -> int:
        fd: int = self._program[name].map_fd
        return fd

    def _function(self, name: str) -> int:
        fd: int = self._program.funcs[name.encode()].fd
        return fd


def _optional_tracepoints() -> dict[str, str]:
    """Those that this kernel has, by function."""
    events = {path.parent.name for path in (TRACEFS / "events").glob("*/*/id")}
    return {name: event for name, event in layout.OPTIONAL_RAW_TRACEPOINTS.items() if event in events}


def _exit_code() -> int:
    return Fatal.FAILED if os.geteuid() == 0 else Fatal.PERMISSION


def main() -> int:
    """Exit code 0, or that of the failure with its message on standard error."""
    directory, program = sys.argv[1:]
    try:
        loader = Loader(msgspec.json.decode(program, type=layout.Program))
        print("compiled", flush=True)  # noqa: T201 read by the parent
        if not sys.stdin.readline():
            return 0  # the probe has gone
        loader.pin(Path(directory))
    except Fatal as error:
        print(error, file=sys.stderr)  # noqa: T201 read by the parent
        return error.exit_code
    except PermissionError as error:
        print(f"{error}; loading needs CAP_BPF and CAP_PERFMON (or root)", file=sys.stderr)  # noqa: T201
        return Fatal.PERMISSION
    except OSError as error:
        print(f"the eBPF program could not be attached: {error}", file=sys.stderr)  # noqa: T201
        return Fatal.FAILED
    # BCC's clean-up at exit would take the perf events out of their table.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
