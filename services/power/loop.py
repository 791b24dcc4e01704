# SPDX-License-Identifier: Apache-2.0
"""The power service's I/O and timing: one reading of every zone per tick."""

import time
from functools import partial

from wattline.runtime import Runtime
from wattline.wire.frames import Activity, AnyFrame, Power

from .settings import PowerSettings
from .source import Former, Level, Note, Source, absent_table, table
from .sources import SOURCES, Entry
from .switch import Switch


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
        order = [partial(self._open, entry, settings, begun_ns) for entry in SOURCES]
        self._switch = Switch(order, former)
        self._epoch = former.epoch if self._switch.source.resumed else begun_ns
        self._has_followed = False  # since the last tick
        self._newest_ns = 0  # of any zone's readings
        self._log_start()

    def _open(self, entry: Entry, settings: PowerSettings, begun_ns: int, former: Former) -> Source:
        return entry.open(settings, former, begun_ns)

    def on_frame(self, frame: AnyFrame) -> None:
        """Take what the node did. Times of another boot mean nothing on this one."""
        if isinstance(frame, Activity) and frame.boot_id == self._runtime.boot_id:
            source = self._switch.source
            source.on_activity(frame)
            if source.follows_activity and not self._has_followed:
                self._publish(time.monotonic_ns())
                self._has_followed = True

    def on_tick(self, now_ns: int) -> None:
        """Read and publish; an empty frame is the heartbeat of a service whose meter is silent."""
        if not self._has_followed:
            self._publish(now_ns)
        self._has_followed = False

    def _publish(self, now_ns: int) -> None:
        readings, states = self._switch.read(now_ns)
        self._runtime.publish(
            Power,
            epoch=self._epoch,
            mono_ns=time.monotonic_ns(),
            zones=table(readings.rows, self._epoch),
            sources=states,
            absent=absent_table(readings.absent),
        )
        newest_ns = max((row.mono_ns for row in readings.rows), default=0)
        if newest_ns > self._newest_ns:
            self._newest_ns = newest_ns
            self._runtime.mark_useful()
        for note in readings.notes:
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
        """Close the meter."""
        self._switch.close()

    def _log_start(self) -> None:
        source = self._switch.source
        self._runtime.log.info(
            "source",
            source=source.zones[0].source,
            zones=", ".join(map(str, source.zones)),
            epoch=self._epoch,
            resumed=source.resumed,
        )
