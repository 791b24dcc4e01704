# SPDX-License-Identifier: Apache-2.0
"""Which backend this machine allows."""

from wattline import cgroup2
from wattline.service import Runtime
from wattline.wire.bus import end_threads
from wattline.wire.frames import Activity, SourceState

from .backend import Backend
from .capabilities import keep_only, require_capabilities
from .ebpf.backend import EbpfBackend, PublishLast
from .ebpf.reader import SOURCE
from .errors import Unavailable
from .settings import ProbeSettings

_LOST = (
    "processes' CPU time comes in steps of 10 ms, one that lives shorter than an interval has no row, and "
    "there are no sockets, softirqs, page-cache or hardware counters"
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
            backend = EbpfBackend(settings, runtime.log, publish_last)
        except Unavailable as error:
            if settings.probe_backend == "ebpf":
                raise
            runtime.log.warning("no_ebpf", cause=error, backend="procfs", lost=_LOST)
            return _procfs(settings, runtime), [SourceState(name=SOURCE, up=False, reason=str(error))]
        else:
            # What a replaced program's last frame was published with.
            runtime.close()
            end_threads()
            # Reading pinned objects needs CAP_BPF up to Linux 5.18; opening a counter CAP_PERFMON.
            keep_only(["CAP_BPF", "CAP_PERFMON"] if backend.has_counters else ["CAP_BPF"])
            return backend, []
    return _procfs(settings, runtime), []


def _procfs(settings: ProbeSettings, runtime: Runtime) -> Backend:
    from .procfs.backend import ProcfsBackend  # noqa: PLC0415 what is not used takes no memory

    previous = runtime.previous()
    backend = ProcfsBackend(
        settings.path_procfs,
        cgroup2.find_mount(settings.path_procfs),
        runtime.directory.path / "procfs_state",
        runtime.boot_id,
        previous if isinstance(previous, Activity) else None,
    )
    runtime.log.info(
        "reading", procfs=settings.path_procfs, epoch=backend.epoch, begun_because=backend.begun_because
    )
    return backend
