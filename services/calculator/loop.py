# SPDX-License-Identifier: Apache-2.0
"""The calculator's I/O and timing: frames in, ledger, frames out. What it calculates is in state.py."""

from collections import deque

from wattline.runtime import Runtime
from wattline.wire.frames import AbsentZones, Activity, AnyFrame, Energy, Metadata, Power, SourceState

from .absent import union
from .columns import ImpossibleError
from .energy_frame import energy_tables
from .ledger_file import LedgerFile
from .names import Names
from .odd_rows import CGROUP_ID_MAX, SOCKET_MAX, without_odd_rows
from .settings import CalculatorSettings
from .slots import STREAMS_MAX
from .state import State
from .zones import ZONES_MAX

# Activity that waits for metadata; more than this and the oldest is taken as it is.
_WAITING_MAX = 64
SOURCES_MAX = 256  # as docs/wire.md has it
_ENERGY_FELL = (
    "reading rejected: a zone's energy is below its previous one or more than a zone can use, its epoch is "
    f"older, its time lies ahead, or it is beyond {ZONES_MAX} zones or {STREAMS_MAX} streams"
)
_ODD_ROWS = (
    f"rows of activity left out: expected cgroup ids and starts of at most {CGROUP_ID_MAX}, sockets of at "
    f"most {SOCKET_MAX}"
)


class CalculatorStage:
    """Advances when a stream brings something; commits, then publishes."""

    def __init__(self, settings: CalculatorSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._names = Names()
        self._waiting: deque[tuple[int, Activity]] = deque()  # with the time of arrival
        self._sources: dict[str, list[SourceState]] = {}
        self._absent: dict[str, AbsentZones] = {}  # by power stream
        self._published_ns = self._skew_ns = 0
        self._ledger = LedgerFile(runtime.directory.ledger, runtime.node, runtime.boot_id)
        recovered = self._ledger.recover(lambda reason: runtime.log.error("ledger_refused", cause=reason))
        self._state = recovered or State(runtime.now_ns())
        self._rules = settings.rules()
        runtime.log.info(
            "books",
            recovered=recovered is not None,
            zones=len(self._state.zones.zones),
            epoch=self._state.epoch,
        )

    def on_frame(self, frame: AnyFrame) -> None:
        """Take any of the three streams."""
        if frame.node != self._runtime.node:
            self._runtime.count(
                "foreign_frame", f"{frame.topic}: expected node {self._runtime.node!r}, got {frame.node!r}"
            )
            return
        if isinstance(frame, Activity):
            self._waiting.append((self._runtime.now_ns(), self._without_odd_rows(frame)))
            self._sources["probe"], self._skew_ns = frame.sources, frame.skew_ns
        elif isinstance(frame, Metadata):
            self._names.take_metadata(frame)
            self._sources["metadata"] = frame.sources
        elif isinstance(frame, Power):
            self._sources[frame.producer], self._absent[frame.producer] = frame.sources, frame.absent
            self._take_power(frame)
        self._advance()

    def _without_odd_rows(self, frame: Activity) -> Activity:
        kept, left_out = without_odd_rows(frame)
        if left_out:
            self._runtime.count("odd_rows", _ODD_ROWS, rows=left_out)
        return kept

    def _take_power(self, frame: Power) -> None:
        try:
            refused = self._state.take_power(frame, self._rules)
        except ImpossibleError as error:
            self._runtime.count("impossible_power", error)
        else:
            self._report(refused)

    def _report(self, refused: int) -> None:
        """Report rejected readings, and each change of a slot's owner."""
        if refused:
            self._runtime.count("energy_fell", _ENERGY_FELL, readings=refused)
        for change in self._state.intake.take_changes():
            zone, index, source = change.owner.name
            self._runtime.log.info(
                "owner",
                zone=f"{zone} {index}",
                source=source,
                stream=change.owner.stream,
                previous=", ".join(f"{one.name[2]} ({one.stream})" for one in change.previous),
                cause=change.reason,
            )

    def _drop_ended_streams(self) -> None:
        """Drop the sources and absent zones of power streams that send no frames any more."""
        for stream in [one for one in self._absent if self._state.zones.slots.has_ended(one)]:
            del self._absent[stream], self._sources[stream]

    def on_tick(self, now_ns: int) -> None:
        """Go on without metadata or power that doesn't come; give a sign of life."""
        self._report(self._state.tick(now_ns, self._rules))
        self._drop_ended_streams()
        self._advance()
        if now_ns - self._published_ns >= self._runtime.interval_ns:
            self._publish()

    def close(self) -> None:
        """Keep what is booked for the next calculator."""
        self._ledger.commit(self._state)
        self._ledger.close()

    def _advance(self) -> None:
        while self._waiting and self._is_named(*self._waiting[0]):
            try:
                self._state.take_activity(self._waiting.popleft()[1], self._names)
            except ImpossibleError as error:
                self._runtime.count("impossible_activity", error)
        if self._state.attribute(self._rules):
            self._publish()
            self._runtime.mark_useful()

    def _is_named(self, arrived_ns: int, activity: Activity) -> bool:
        return (
            self._names.covers_activity(activity)
            or len(self._waiting) > _WAITING_MAX
            or self._runtime.now_ns() - arrived_ns >= self._settings.metadata_grace_s * 1e9
        )

    def _publish(self) -> None:
        """Commit first: what the world has seen must never be taken back, no name either."""
        self._state.fold_ended(self._rules)
        self._state.settle_names(self._names, self._runtime.now_ns())
        self._ledger.commit(self._state)
        # Above the last one's, also where time stands still between the frames of a replay.
        self._published_ns = max(self._runtime.now_ns(), self._published_ns + 1)
        self._runtime.publish(
            Energy,
            epoch=self._state.epoch,
            mono_ns=self._published_ns,
            idle_policy=self._settings.idle_policy,
            activity_epoch=self._state.usage.epoch,
            activity_mono_ns=self._state.usage.mono_ns,
            activity_skew_ns=self._skew_ns,
            absent=union(self._absent),
            sources=[source for _of, sources in sorted(self._sources.items()) for source in sources][
                :SOURCES_MAX
            ],
            **energy_tables(self._state, self._rules),
        )
