# SPDX-License-Identifier: Apache-2.0
"""The probe's timing: samples once a tick, publishes, lets go of what ended long ago."""

import time
from functools import partial

from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, SourceState

from .backend import Sample
from .choose import choose_backend
from .ebpf.reader import SOURCE
from .errors import Detached
from .settings import ProbeSettings

# What is lost, why, and how to cure it, by the names in Sample.losses.
_FULL = "a table in the kernel is full: raise"
_CAUSES = {
    "births": f"{_FULL} --probe.process-rows; a process has no name, its time is in its cgroup's row",
    "process_updates": f"{_FULL} --probe.process-rows; a process has no row, its time is in its cgroup's row",
    "cgroup_updates": f"{_FULL} --probe.cgroup-rows; a cgroup has no row, its energy is unattributed",
    "cgroup_paths": f"{_FULL} --probe.cgroup-rows; a cgroup has no path",
}


# The fields of a frame that tell what was counted.
_CONTENT = ("source", "skew_ns", "cpus", "cgroups", "processes", "paths", "counters", "losses")


class ProbeStage:
    """One sample per tick, published as `activity`."""

    def __init__(self, settings: ProbeSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._losses: dict[str, int] = {}
        self._not_taken: list[SourceState] = []
        self._is_detached = False
        self._backend, self._not_taken = choose_backend(settings, runtime, partial(self._publish, SOURCE))

    def on_frame(self, frame: AnyFrame) -> None:
        """The probe subscribes to nothing."""

    def on_tick(self, now_ns: int) -> None:
        """Sample, publish, and let go of those who ended long ago."""
        try:
            sample = self._backend.sample()
        except Detached as error:
            self._is_detached = True
            self._publish_down(str(error))
            raise
        self._publish(self._backend.source, self._backend.epoch, sample)
        self._runtime.mark_useful()
        self._backend.retire(now_ns - round(self._settings.probe_ended_s * 1e9))

    def close(self) -> None:
        """Say the last word; then stop counting, unless it is kept up for the next probe."""
        try:
            if not self._is_detached:
                self.on_tick(time.monotonic_ns())
        finally:
            self._backend.close(keep=self._settings.probe_keep)

    def _publish_down(self, reason: str) -> None:
        """Repeat the last frame's counters, a nanosecond later, with the source reported as down.

        What was counted since then went to the wrong tasks and is dropped.
        """
        last = self._runtime.previous()
        if not isinstance(last, Activity):
            return
        down = SourceState(name=self._backend.source, up=False, reason=reason)
        others = [state for state in last.sources if state.name != down.name]
        self._runtime.publish(
            Activity,
            epoch=last.epoch,
            mono_ns=last.mono_ns + 1,
            sources=[down, *others],
            **{name: getattr(last, name) for name in _CONTENT},
        )

    def _publish(self, source: str, epoch: int, sample: Sample) -> None:
        self._runtime.publish(
            Activity,
            epoch=epoch,
            mono_ns=sample.mono_ns,
            source=source,
            skew_ns=sample.skew_ns,
            cpus=sample.cpus,
            cgroups=sample.cgroups,
            processes=sample.processes,
            paths=sample.paths,
            counters=sample.counters,
            losses=sample.losses,
            sources=[*sample.sources, *self._not_taken],
        )
        self._tell_of(sample.losses)

    def _tell_of(self, losses: dict[str, int]) -> None:
        """Each kind of loss that has grown, into the log and, as a counter, into our status."""
        for name, cause in _CAUSES.items():
            count = losses.get(name, 0)
            if count > self._losses.get(name, 0):
                self._runtime.count(f"lost_{name}", cause, total=count)
        self._losses = losses
