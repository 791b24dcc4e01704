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
from collections.abc import Iterable
from pathlib import Path

import msgspec

from wattline import cgroup2
from wattline.errors import Fatal

from ..processes import running_processes
from . import bpf_syscall as bpf
from . import cpus, layout, perf_events
from .compile import Compiled, refused
from .kernel_facts import read_facts
from .mounts import TRACEFS
from .refusal import LINK, PERF_EVENT, PIN, described

_NS_PER_S = 1_000_000_000
_PROCFS, _SYSFS = Path("/proc"), Path("/sys")


class Loader:
    """One program, from its source to its pins."""

    def __init__(self, wanted: layout.Program) -> None:
        """Compile and load. Raises Fatal with the cause and the cure."""
        self._wanted = wanted
        self._compiled = Compiled(wanted)
        self._hooks = self._compiled.hooks
        self._map, self._function = self._compiled.table, self._compiled.function

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

    def _attach_and_pin(self, directory: Path) -> None:
        for name in (*layout.MAPS, *(["perf_events"] if self._wanted.features.counters else [])):
            _pin(self._map(name), directory / name)
        for name in layout.CALLED:
            _pin(self._function(name), directory / name)
        self._describe_cpus()
        self._open_counters()
        for name, tracepoint in self._hooks.classic.items():
            self._attach_classic(name, tracepoint, directory)
        raw = self._hooks.raw
        of_names = [name for name in raw if name in layout.TRACEPOINTS]
        self._attach_raw(of_names, directory)
        self._seed_processes()
        self._seed_cgroups()
        bpf.update(self._map("epoch"), layout.INDEX.pack(0), layout.EPOCH.pack(time.monotonic_ns()))
        # sched_switch comes last: it takes whom it does not know for a process whose birth was missed.
        self._attach_raw([name for name in raw if name not in of_names], directory)
        # For on_page_read, where the kernel has no such tracepoint but lets us attach to functions.
        for fentry in self._compiled.program.kfunc_entry_fds.values():
            _pin(fentry, directory / "link_on_page_read")
        for cpu in range(self._wanted.cpus):
            with contextlib.suppress(OSError):  # an offline CPU begins its account when it comes
                bpf.run_on_cpu(self._function("flush"), cpu)

    def _attach_raw(self, names: Iterable[str], directory: Path) -> None:
        for name in names:
            tracepoint = self._hooks.raw[name]
            try:
                link = bpf.link_raw_tracepoint(self._function(name), tracepoint)
            except OSError as error:
                raise refused(LINK, tracepoint, error.errno or 0) from None
            try:
                _pin(link, directory / f"link_{name}")
            finally:
                os.close(link)  # the pin holds it

    def _attach_classic(self, name: str, tracepoint: str, directory: Path) -> None:
        number = int((TRACEFS / "events" / tracepoint / "id").read_text(encoding="ascii"))
        try:
            event = perf_events.open_tracepoint(number)
        except OSError as error:
            raise refused(PERF_EVENT, f"tracepoint {tracepoint}", error.errno or 0) from None
        try:
            _pin(bpf.link_perf_event(self._function(name), event), directory / f"link_{name}")
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


def _pin(fd: int, path: Path) -> None:
    try:
        bpf.pin(fd, path)
    except OSError as error:
        raise refused(PIN, path.name, error.errno or 0) from None


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
        print(f"{error}. Facts: {described(read_facts())}", file=sys.stderr)  # noqa: T201
        return Fatal.PERMISSION
    except OSError as error:
        print(f"the eBPF program could not be attached: {error}", file=sys.stderr)  # noqa: T201
        return Fatal.FAILED
    # BCC's clean-up at exit would take the perf events out of their table.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
