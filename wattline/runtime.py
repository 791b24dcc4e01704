# SPDX-License-Identifier: Apache-2.0
"""What a stage is, and what it needs of the world around it."""

import time
from typing import Any, Protocol

from .boot import this_boot_id
from .clock import FrameClock
from .log import Log
from .settings import CommonSettings
from .wire.bus import Publisher, read_last
from .wire.frames import AnyFrame, Frame, Status
from .wire.packed import FrameError
from .wire.plausible import Guard, check_allowed
from .wire.rundir import ServiceDirectory


class Stage(Protocol):
    """What a service's loop.py provides. None of the calls may block for longer than a second."""

    def on_frame(self, frame: AnyFrame) -> None:
        """Take a frame of a subscribed topic."""

    def on_tick(self, now_ns: int) -> None:
        """Do what is done once per interval; publish."""

    def close(self) -> None:
        """Release everything. Called once, also after an error."""


class Runtime:
    """What a stage needs of the world around it, the time included.

    Live, that is CLOCK_MONOTONIC. On a recording, or with the setting clock = frames, it is the time of the
    newest frame, and node and boot are those of the first.
    """

    def __init__(
        self, service: str, settings: CommonSettings, log: Log, first: AnyFrame | None = None
    ) -> None:
        """`first`: the recording's first frame, if one is replayed."""
        self.service = service
        self.log = log
        self.node = settings.node
        self.boot_id = this_boot_id()
        self.interval_ns = settings.interval_ns
        self.run = settings.run
        self._streams = settings.streams
        self.directory = ServiceDirectory(settings.run, service, self._streams.uid_of(service))
        self._frame_clock = FrameClock() if first is not None or settings.clock == "frames" else None
        self.has_time = self._frame_clock is None
        self.guard = Guard(
            self.now_ns,
            lambda: self.boot_id if self.has_time else "",
            is_replay=not self.has_time,
            streams=self._streams,
        )
        if first is not None:
            self.take_time(first)
        self.started_ns = self.now_ns()
        self.failed_turns = 0
        self._useful_ns = self.started_ns
        self.errors: dict[str, int] = {}
        self._publisher: Publisher | None = None
        self._seq: dict[str, int] = {}  # by topic

    def now_ns(self) -> int:
        """The time that everything here goes by; 0 as long as it is that of frames and none has come."""
        return time.monotonic_ns() if self._frame_clock is None else self._frame_clock.mono_ns

    def take_time(self, frame: AnyFrame) -> None:
        """Called with each frame before the stage gets it: where time is that of frames, go on to its."""
        # A status tells of the process that sent it, which may be one of a replay: its time is no news.
        if self._frame_clock is None or isinstance(frame, Status):
            return
        if not self.has_time:
            self.has_time, self.node, self.boot_id = True, frame.node, frame.boot_id
        if frame.boot_id == self.boot_id:
            self._frame_clock.take(frame.mono_ns, frame.unix_ns)

    def _unix_ns(self, mono_ns: int) -> int:
        if self._frame_clock is not None:
            return self._frame_clock.unix_ns(mono_ns)
        return time.time_ns() - (time.monotonic_ns() - mono_ns)

    def previous(self) -> AnyFrame | None:
        """The last frame of this service's former run on this boot and node, if there is one."""
        last = read_last(self.directory)
        if last is None or (last.boot_id, last.node) != (self.boot_id, self.node):
            return None
        try:
            self.guard.check(last)
        except FrameError as error:
            self.log.warning("last_refused", cause=error)
            return None
        return last

    def publish(
        self, frame_type: type[Frame], *, epoch: int, mono_ns: int, is_state: bool = True, **fields: Any
    ) -> None:
        """Send a frame of this stage; the header is filled in here."""
        if self._publisher is None:
            self._publisher = Publisher(self.directory)
        frame = frame_type(
            node=self.node,
            boot_id=self.boot_id,
            producer=self.service,
            epoch=epoch,
            run=self.started_ns,
            seq=self._seq.setdefault(frame_type.topic, 0),
            mono_ns=mono_ns,
            unix_ns=self._unix_ns(mono_ns),
            interval_ns=self.interval_ns,
            useful_mono_ns=self._useful_ns,
            failed_turns=self.failed_turns,
            **fields,
        )
        self._seq[frame_type.topic] += 1
        self._check_allowed(frame)
        self._publisher.publish(frame, is_state=is_state)  # type: ignore[arg-type]
        for event, cause in self._publisher.faults.items():
            self.count(event, cause)

    def _check_allowed(self, frame: Frame) -> None:
        """Report a frame of our own that readers refuse. A stream that isn't listed here may be elsewhere."""
        if self._streams.find(self.service) is None:
            return
        try:
            check_allowed(frame, self._streams)
        except FrameError as error:
            self.count("not_allowed", error)

    def mark_useful(self) -> None:
        """Report that the stage's content has just advanced. To be called once that is published.

        Health goes by it: a stage whose turns fail, or that gets nothing new, must not seem to work.
        """
        self._useful_ns, self.failed_turns = self.now_ns(), 0

    def count(self, event: str, cause: object, **fields: object) -> None:
        """Something went wrong that does not end the service: into the log, and into its status."""
        self.errors[event] = self.errors.get(event, 0) + 1
        self.log.warning(event, cause=cause, **fields)

    @property
    def frames_sent(self) -> int:
        """Since the start of this run."""
        return self._publisher.frames_sent if self._publisher else 0

    def close(self) -> None:
        """Close the socket."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
