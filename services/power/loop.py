# SPDX-License-Identifier: Apache-2.0
"""The power service's I/O and timing: one reading of every zone per tick."""

import time

from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Power

from .settings import PowerSettings
from .source import Former, table
from .sources import choose


class PowerStage:
    """Reads the source once per interval and publishes `power`, also when there is nothing to tell.

    A meter is read at the tick, when the probe samples: then hardly any energy has to be interpolated between
    them. A source that follows the activity is read when that has come.
    """

    def __init__(self, settings: PowerSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        begun_ns = time.monotonic_ns()
        previous = runtime.previous()
        former = Former.of(previous if isinstance(previous, Power) else None)
        choice = choose(settings, former)
        self._source, self._passed_over = choice.source, choice.passed_over
        self._epoch = former.epoch if self._source.resumed else begun_ns
        self._has_followed = False  # since the last tick
        self._newest_ns = 0  # of any zone's readings
        self._log_start()

    def on_frame(self, frame: AnyFrame) -> None:
        """Take what the node did. Times of another boot mean nothing on this one."""
        if isinstance(frame, Activity) and frame.boot_id == self._runtime.boot_id:
            self._source.on_activity(frame)
            if self._source.follows_activity and not self._has_followed:
                self._publish(time.monotonic_ns())
                self._has_followed = True

    def on_tick(self, now_ns: int) -> None:
        """Read and publish; an empty frame is the heartbeat of a service whose meter is silent."""
        if not self._has_followed:
            self._publish(now_ns)
        self._has_followed = False

    def _publish(self, now_ns: int) -> None:
        readings = self._source.read(now_ns)
        self._runtime.publish(
            Power,
            epoch=self._epoch,
            mono_ns=time.monotonic_ns(),
            zones=table(readings.rows),
            sources=[*self._passed_over, readings.state],
        )
        newest_ns = max((row.mono_ns for row in readings.rows), default=0)
        if newest_ns > self._newest_ns:
            self._newest_ns = newest_ns
            self._runtime.mark_useful()
        for note in readings.notes:
            if note.is_planned:
                self._runtime.log.info(note.event, cause=note.cause, **note.fields)
            else:
                self._runtime.count(note.event, note.cause, **note.fields)

    def close(self) -> None:
        """Close the meter."""
        self._source.close()

    def _log_start(self) -> None:
        log, zones = self._runtime.log, self._source.zones
        log.info(
            "source",
            source=zones[0].source,
            zones=", ".join(map(str, zones)),
            epoch=self._epoch,
            resumed=self._source.resumed,
        )
        for state in self._passed_over:
            log.info("source_not_used", source=state.name, cause=state.reason)
        for note in self._source.notes:
            log.warning(note.event, cause=note.cause, **note.fields)
