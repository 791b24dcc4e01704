# SPDX-License-Identifier: Apache-2.0
"""Which backend this machine allows."""

from collections.abc import Sequence

from wattline import cgroup2, readable
from wattline.confine.capabilities import keep_only
from wattline.confine.landlock import REMOVE_DIRECTORY, WRITE
from wattline.confine.limits import filter_calls, limit_writes
from wattline.confine.system_calls import EBPF, PROBE
from wattline.runtime import Runtime
from wattline.wire.bus import end_threads
from wattline.wire.frames import Activity, SourceState

from .backend import Backend
from .capabilities import require_capabilities
from .ebpf.backend import EbpfBackend, PublishLast
from .ebpf.reader import SOURCE
from .errors import Unavailable
from .settings import ProbeSettings

_LOST = (
    "CPU time per process comes in steps of 10 ms; a process that lives shorter than an interval has no row; "
    "no sockets, softirqs, page-cache hits or hardware counters (docs/probe.md)"
)


def choose_backend(
    settings: ProbeSettings, runtime: Runtime, publish_last: PublishLast
) -> tuple[Backend, list[SourceState]]:
    """eBPF, or /proc where that can't be had and the settings leave it open; says so once.

    The second part is what is to be told of the one that was not taken.
    Raises Fatal(PERMISSION) if eBPF is insisted on and can't be had.
    """
    if settings.probe_backend != "procfs":
        try:
            require_capabilities()
            backend = EbpfBackend(settings, runtime, publish_last)
        except Unavailable as error:
            if settings.probe_backend == "ebpf":
                raise
            runtime.log.warning("no_ebpf", cause=error, backend="procfs", lost=_LOST)
            return _procfs(settings, runtime), [SourceState(name=SOURCE, up=False, reason=str(error))]
        else:
            # Reading pinned objects needs CAP_BPF up to Linux 5.18; opening a counter CAP_PERFMON.
            kept = ["CAP_BPF", "CAP_PERFMON"] if backend.has_counters else ["CAP_BPF"]
            try:
                confine(settings, runtime, kept)
            except BaseException:
                backend.close(keep=settings.probe_keep)
                raise
            return backend, []
    return _procfs(settings, runtime), []


def confine(settings: ProbeSettings, runtime: Runtime, kept: Sequence[str]) -> None:
    """Give up what only loading needed. Raises Fatal if that leaves code unreadable."""
    # What a replaced program's last frame was published with: threads have capabilities of their own.
    runtime.close()
    end_threads()
    code = readable.imported_from()
    keep_only(kept)
    readable.require(code)  # root without capabilities can't enter another user's home
    pins = settings.probe_pin_path.resolve()
    own = {runtime.directory.path: WRITE}
    limit_writes(runtime.log, {**own, pins: WRITE, pins.parent: REMOVE_DIRECTORY} if kept else own)
    filter_calls(runtime.log, {**PROBE, **EBPF} if kept else PROBE)


def _procfs(settings: ProbeSettings, runtime: Runtime) -> Backend:
    from .procfs.backend import ProcfsBackend  # noqa: PLC0415 what is not used takes no memory
    from .procfs.state_file import NO_FORMER_COUNT  # noqa: PLC0415 likewise

    confine(settings, runtime, [])
    previous = runtime.previous()
    backend = ProcfsBackend(
        settings.path_procfs,
        cgroup2.find_mount(settings.path_procfs),
        runtime.directory.path / "procfs_state",
        runtime.boot_id,
        previous if isinstance(previous, Activity) else None,
    )
    runtime.log.info(
        "reading", procfs=settings.path_procfs, epoch=backend.epoch, resumed=not backend.begun_because
    )
    if backend.begun_because not in ("", NO_FORMER_COUNT):
        runtime.count("new_count", f"the earlier count can't be continued: {backend.begun_because}")
    return backend
