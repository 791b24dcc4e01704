# SPDX-License-Identifier: Apache-2.0
"""The power service's I/O and timing: one reading of every zone per tick."""

import time

from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Power

from .meters import Meters
from .opening import uses
from .settings import PowerSettings
from .source import Former, Level, Note, absent_table, table


class PowerStage:
    """Reads all sources once per interval and publishes `power`, also when there is nothing to tell.

    Meters are read at the tick, when the probe samples: then hardly any energy has to be interpolated between
    them. The estimate follows the activity, and is read when that has come.
    """

    def __init__(self, settings: PowerSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        begun_ns = time.monotonic_ns()
        previous = runtime.previous()
        former = Former.of(previous if isinstance(previous, Power) else None)
        self._meters = Meters(uses(settings), former, begun_ns, _now_ns)
        self._epoch = former.epoch if self._meters.resumed else begun_ns
        self._has_followed = False  # since the last tick
        self._log_start()

    def on_frame(self, frame: AnyFrame) -> None:
        """Take what the node did. Times of another boot mean nothing on this one."""
        if isinstance(frame, Activity) and frame.boot_id == self._runtime.boot_id:
            self._meters.on_activity(frame)
            if self._meters.follows_activity and not self._has_followed:
                self._publish(time.monotonic_ns())
                self._has_followed = True

    def on_tick(self, now_ns: int) -> None:
        """Read and publish; an empty frame is the heartbeat of a service whose meter is silent."""
        if not self._has_followed:
            self._publish(now_ns)
        self._has_followed = False

    def _publish(self, now_ns: int) -> None:
        tick = self._meters.read(now_ns)
        self._runtime.publish(
            Power,
            epoch=self._epoch,
            mono_ns=time.monotonic_ns(),
            zones=table(tick.rows, self._epoch),
            sources=tick.states,
            absent=absent_table(tick.absent),
        )
        if tick.has_new or tick.is_waiting:
            self._runtime.mark_useful()
        for note in tick.notes:
            self._log(note)

    def _log(self, note: Note) -> None:
        match note.level:
            case Level.INFO:
                self._runtime.log.info(note.event, **note.fields, cause=note.cause)
            case Level.WARNING:
                self._runtime.log.warning(note.event, cause=note.cause, **note.fields)
            case Level.COUNTED:
                self._runtime.count(note.event, note.cause, **note.fields)

    def close(self) -> None:
        """Close all meters."""
        self._meters.close()

    def _log_start(self) -> None:
        for source, zones in self._meters.zones().items():
            self._runtime.log.info(
                "source",
                source=source,
                zones=", ".join(map(str, zones)),
                epoch=self._epoch,
                resumed=self._meters.resumed,
            )


def _now_ns() -> int:
    return time.monotonic_ns()
