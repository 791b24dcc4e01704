# SPDX-License-Identifier: Apache-2.0
"""The calculator's I/O and timing: frames in, ledger, frames out. What it calculates is in state.py."""

from collections import deque

from wattline.service import Runtime
from wattline.wire.frames import Activity, AnyFrame, Energy, Metadata, Power, SourceState

from .columns import ImpossibleError
from .energy_frame import energy_tables
from .ledger_file import LedgerFile
from .names import Names
from .settings import CalculatorSettings
from .state import State

# Activity that waits for metadata; more than this and the oldest is taken as it is.
_WAITING_MAX = 64
_AHEAD_NS_MAX = 1_000_000_000  # all clocks of a boot are one clock


class CalculatorStage:
    """Advances when a stream brings something; commits, then publishes."""

    def __init__(self, settings: CalculatorSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._names = Names()
        self._waiting: deque[tuple[int, Activity]] = deque()  # with the time of arrival
        self._sources: dict[str, list[SourceState]] = {}
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
        if frame.boot_id != self._runtime.boot_id or frame.node != self._runtime.node:
            self._runtime.count(
                "foreign_frame", f"{frame.topic} of node {frame.node!r}, expected {self._runtime.node!r}"
            )
            return
        if frame.mono_ns > self._runtime.now_ns() + _AHEAD_NS_MAX:
            self._runtime.count("future_frame", f"{frame.topic} has a time that has not come yet")
            return
        if isinstance(frame, Activity):
            self._waiting.append((self._runtime.now_ns(), frame))
            self._sources["probe"], self._skew_ns = frame.sources, frame.skew_ns
        elif isinstance(frame, Metadata):
            self._names.take_metadata(frame)
            self._sources["metadata"] = frame.sources
        elif isinstance(frame, Power):
            self._sources["power"] = frame.sources
            self._take_power(frame)
        self._advance()

    def _take_power(self, frame: Power) -> None:
        try:
            refused = self._state.take_power(frame, self._rules)
        except ImpossibleError as error:
            self._runtime.count("impossible_power", error)
        else:
            if refused:
                self._runtime.count("energy_fell", f"{refused} readings that can't follow those before")

    def on_tick(self, now_ns: int) -> None:
        """Go on without metadata that doesn't come; give a sign of life."""
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

    def _is_named(self, arrived_ns: int, activity: Activity) -> bool:
        return (
            self._names.covers_activity(activity)
            or len(self._waiting) > _WAITING_MAX
            or self._runtime.now_ns() - arrived_ns >= self._settings.metadata_grace_s * 1e9
        )

    def _publish(self) -> None:
        """Commit first: what the world has seen must never be taken back."""
        self._state.fold_ended(self._rules)
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
            sources=[source for _service, sources in sorted(self._sources.items()) for source in sources],
            **energy_tables(self._state, self._rules),
        )
