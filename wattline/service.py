# SPDX-License-Identifier: Apache-2.0
"""The run loop that every service uses: settings, lock, ticks, frames in and out, signals, status.

A service gives a Stage; this module calls it and is the only place where errors are caught.
"""

import contextlib
import faulthandler
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from . import __version__
from .clock import Pace, Schedule
from .confine.landlock import WRITE
from .confine.libc import prctl
from .confine.limits import Limits, filter_calls, limit_writes
from .confine.system_calls import SERVICE
from .descriptors import raise_limit
from .errors import Fatal, Gone, Retry
from .log import Log
from .runtime import Runtime, Stage
from .settings import CommonSettings, NamedSettings, ReplaySettings, load
from .standard_streams import have_standard_streams
from .time_namespace import require_kernels_clocks
from .wire.bus import Subscriber
from .wire.frames import AnyFrame, Status
from .wire.recorded import RecordedFrames
from .wire.room import NoRoom, full_text, is_full
from .wire.rundir import Lock, ServiceDirectory, lock_holder

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_LOCK_RETRY_MS = 200
_STOP_S = 4.0  # after a signal to stop, for a turn and what `close` does; then the process ends without both
_STOP_GRACE_S = 0.5  # for the line in the log; a call into C may last longer than that
_WAIT_MAX_S = 3600  # a recording may have any time in it, select may not

SettingsT = TypeVar("SettingsT", bound=CommonSettings)


Build = Callable[[SettingsT, Runtime], Stage]


def main(
    service: str,
    settings_type: type[SettingsT],
    build: Build[SettingsT],
    *,
    topics: Sequence[str] = (),
    phase_ratio: float = 0.0,
    limits: Limits[SettingsT] | None = None,
) -> int:
    """Run a service until it is told to stop; its exit code.

    `topics`: what it subscribes to. `phase_ratio`: when within the interval it ticks, 0 to 1. `limits`: which
    rights it keeps.
    """
    have_standard_streams()
    raise_limit()
    kept = limits if limits is not None else Limits[SettingsT]()
    log = Log(service)
    try:
        settings, warnings = load(settings_type, service, sys.argv[1:], os.environ)
        stage = settings.name if isinstance(settings, NamedSettings) else service
        log.service, log.level = stage, settings.log_level
        for warning in warnings:
            log.warning("settings", cause=warning)
        if settings.clock == "monotonic" and _recording(settings) is None:
            require_kernels_clocks()
        kept.change_rights(settings.user, settings)
        if settings.die_with_parent:
            _die_with_parent()
        return _Loop(stage, settings, log, topics, phase_ratio).run(build, kept)
    except Fatal as error:
        log.error("fatal", cause=error, exit_code=error.exit_code)
        return error.exit_code
    except OSError as error:
        if not isinstance(error, NoRoom) and not (is_full(error) and error.filename):
            raise
        cause = error if isinstance(error, NoRoom) else full_text(Path(error.filename), 0)
        log.error("fatal", cause=cause, exit_code=Fatal.FAILED)
        return Fatal.FAILED


def _die_with_parent() -> None:
    # After any change of user, which would clear it (man 2 prctl).
    parent = os.getppid()
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise Fatal("the process that started this one has ended")


class _Loop:
    """One stage in one process, under its service's or its stream's name: perhaps a standby, then one run."""

    def __init__(
        self, service: str, settings: CommonSettings, log: Log, topics: Sequence[str], phase_ratio: float
    ) -> None:
        self._service = service
        self._settings = settings
        self._log = log
        self._topics = topics
        self._schedule = Schedule(settings.interval_ns, round(settings.interval_ns * phase_ratio))
        self._stopping = False

    def run(self, build: Build[Any], limits: Limits[Any]) -> int:
        directory = ServiceDirectory(
            self._settings.run, self._service, self._settings.streams.uid_of(self._service)
        )
        # A child of `up` that made it would make another one than that whose lock `up` holds.
        directory.prepare(make_run=not self._settings.die_with_parent)
        if limits.is_final:
            limit_writes(self._log, {directory.path: WRITE})
            calls = {**SERVICE, **limits.calls(self._settings)}
            families, ioctls = limits.families(self._settings), limits.ioctls(self._settings)
            filter_calls(self._log, calls, families, ioctls)
        if _recording(self._settings) is not None:
            _check_new(directory)
        wakeup, wakeup_writer = socket.socketpair()
        with wakeup, wakeup_writer, Lock(directory.lock) as lock:
            self._catch_signals(wakeup, wakeup_writer)
            if not self._wait_for(lock, directory):
                return 0
            self._write_pid(directory)
            try:
                self._live_or_replay(build, wakeup)
            finally:
                directory.remove_pid()
        return 0

    def _write_pid(self, directory: ServiceDirectory) -> None:
        """For people only; a service also works where there is no room for it."""
        try:
            directory.write_pid()
        except OSError as error:
            if not is_full(error):
                raise
            self._log.warning("no_room", cause=full_text(directory.pid, len(f"{os.getpid()}\n")))

    def _catch_signals(self, wakeup: socket.socket, writer: socket.socket) -> None:
        def stop(_number: int, _frame: object) -> None:
            if not self._stopping:
                self._stopping = True
                # Where neither is to be had, the supervisor kills us.
                with contextlib.suppress(OSError):
                    signal.setitimer(signal.ITIMER_REAL, _STOP_S)
                with contextlib.suppress(RuntimeError):
                    faulthandler.dump_traceback_later(_STOP_S + _STOP_GRACE_S, file=traceback, exit=True)

        traceback = os.memfd_create("traceback")  # which is not wanted, and has to go somewhere
        signal.signal(signal.SIGALRM, self._end_now)
        wakeup.setblocking(False)  # noqa: FBT003 the socket API's own signature
        writer.setblocking(False)  # noqa: FBT003
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _end_now(self, _number: int, frame: FrameType | None) -> None:
        """End in the middle of a turn. For the files this is a kill: they keep what was last committed."""
        try:
            self._log.error(
                "stop_overdue",
                cause=f"the turn has not ended {_STOP_S:g} s after the signal to stop; ending without it",
                at=_place(frame.f_code.co_filename, frame.f_lineno) if frame is not None else "?",
            )
        finally:
            os._exit(Fatal.FAILED)

    def _wait_for(self, lock: Lock, directory: ServiceDirectory) -> bool:
        """Hold the lock, waiting as a standby while another has it; False if told to stop meanwhile."""
        while not self._stopping:
            if lock.acquire():
                return True
            self._log.warning(
                "waiting",
                cause=f"another {self._service} holds {directory.lock}",
                holder_pid=lock_holder(directory.lock),
            )
            time.sleep(_LOCK_RETRY_MS / 1000)
        return False

    def _live_or_replay(self, build: Build[Any], wakeup: socket.socket) -> None:
        settings = self._settings
        if (recording := _recording(settings)) is not None:
            streams = settings.streams if settings.power_streams else None
            with RecordedFrames(Path(recording.replay), self._topics, streams) as frames:
                runtime = Runtime(self._service, settings, self._log, frames.first)
                pace = Pace.of(recording.replay_speed)
                self._serve(build, runtime, _Replay(runtime, frames, self._schedule, pace, wakeup))
            return
        runtime = Runtime(self._service, settings, self._log)
        with Subscriber(settings.run, self._topics, wakeup.fileno(), guard=runtime.guard) as subscriber:
            self._serve(build, runtime, _Live(runtime, subscriber, self._schedule))

    def _serve(self, build: Build[Any], runtime: Runtime, frames: "_Live | _Replay") -> None:
        """Take turns until told to stop, or until one says that there is nothing more to come."""
        log, more = self._log, True
        stage: Stage | None = None
        try:
            stage = build(self._settings, runtime)
            log.info("started", version=__version__, pid=os.getpid(), interval_s=self._settings.interval_s)
            frames.start()
            while more and not self._stopping:
                try:
                    more = frames.turn(stage)
                except Gone:
                    continue
                except Retry as error:
                    runtime.failed_turns += 1
                    runtime.count("retry", error)
                except Fatal:
                    raise
                except Exception as error:  # noqa: BLE001 the one broad except: around one iteration
                    runtime.failed_turns += 1
                    runtime.count("unexpected", f"{type(error).__name__}: {error} (at {_where(error)})")
        finally:
            try:
                if stage is not None:
                    stage.close()
            except OSError as error:  # its directory was deleted, or its file system is full
                log.error("close_failed", cause=error)
            finally:
                log.info("stopped", frames_sent=runtime.frames_sent)
                runtime.close()


def _recording(settings: CommonSettings) -> ReplaySettings | None:
    """The settings of the replay that is asked for, if one is."""
    return settings if isinstance(settings, ReplaySettings) and settings.replay else None


def _check_new(directory: ServiceDirectory) -> None:
    """A replay must not go on from the state of another run, still less put that aside."""
    for path in (directory.last, directory.ledger):
        if path.exists():
            raise Fatal(
                f"{path} is the state of another run, and a replay begins without: give it a --run of its "
                "own",
                Fatal.SETTINGS,
            )


class _Live:
    """The neighbours' streams as a service's input, and this machine's time as its schedule."""

    def __init__(self, runtime: Runtime, subscriber: Subscriber, schedule: Schedule) -> None:
        self._runtime = runtime
        self._subscriber = subscriber
        self._schedule = schedule

    def start(self) -> None:
        """Begin to tick."""
        self._schedule.start(time.monotonic_ns())

    def turn(self, stage: Stage) -> bool:
        """Wait for frames or the next tick, and hand over what there is."""
        subscriber, schedule = self._subscriber, self._schedule
        wait_ms = -(-schedule.wait_ns(time.monotonic_ns()) // 1_000_000)
        subscriber.poll(wait_ms)
        for frame in subscriber.receive(newest_only=True):
            self._runtime.take_time(frame)
            stage.on_frame(frame)
            if not schedule.wait_ns(time.monotonic_ns()):
                break  # a tick is due, and frames may come faster than they are dealt with
        if schedule.take(time.monotonic_ns()):
            now_ns = self._runtime.now_ns()
            subscriber.connect()
            for service, distrust in subscriber.distrusted.items():
                self._runtime.log.warning("distrusted", cause=distrust, stream=service)
            while subscriber.refusals:
                self._runtime.log.warning("frame_refused", cause=subscriber.refusals.popitem()[1])
            try:
                stage.on_tick(now_ns)
            finally:
                # Where time is that of frames, there is none to publish at before the first.
                if self._runtime.has_time:
                    _publish_status(self._runtime, subscriber, schedule.late_ticks)
        return True


class _Replay:
    """A recording as a service's input: every frame of it, and ticks by the frames' own time.

    So the outcome depends on nothing but the recording. That is why no status is published.
    """

    def __init__(
        self, runtime: Runtime, frames: RecordedFrames, schedule: Schedule, pace: Pace, wakeup: socket.socket
    ) -> None:
        self._runtime = runtime
        self._frames = frames
        self._schedule = schedule
        self._pace = pace
        self._wakeup = wakeup
        self._frame: AnyFrame | None = None  # the one whose time has not come yet

    def start(self) -> None:
        """Begin to tick."""
        self._schedule.start(self._runtime.now_ns())

    def turn(self, stage: Stage) -> bool:
        """Do the tick that is due by the frames so far, or hand over the next one; False if there is none."""
        now_ns = self._runtime.now_ns()
        if self._schedule.take(now_ns):
            stage.on_tick(now_ns)
            return True
        frame = self._frame if self._frame is not None else next(self._frames, None)
        while self._frames.refusals:
            self._runtime.count("frame_refused", self._frames.refusals.popitem()[1])
        if frame is None:
            if self._frames.torn:
                self._runtime.log.warning("recording_torn", cause=self._frames.torn)
            return False
        wait_ns = self._pace.wait_ns(frame.mono_ns, time.monotonic_ns())
        self._frame = frame if wait_ns else None
        if wait_ns:
            select.select([self._wakeup], [], [], min(wait_ns / 1e9, _WAIT_MAX_S))
            return True
        self._runtime.take_time(frame)
        stage.on_frame(frame)
        return True


def _where(error: Exception) -> str:
    """File and line of an error, without the traceback module, which takes a megabyte."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return _place(at.tb_frame.f_code.co_filename, at.tb_lineno) if at is not None else "?"


def _place(filename: str, line: int | None) -> str:
    return f"{Path(filename).name}:{line}"


def _publish_status(runtime: Runtime, subscriber: Subscriber, late_ticks: int) -> None:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    runtime.publish(
        Status,
        epoch=runtime.started_ns,
        mono_ns=runtime.now_ns(),
        is_state=runtime.service == "exporter",  # it publishes nothing else
        service=runtime.service,
        version=__version__,
        pid=os.getpid(),
        cpu_ns=time.process_time_ns() + round((children.ru_utime + children.ru_stime) * 1e9),
        memory_bytes=pages * resource.getpagesize(),
        frames_sent=runtime.frames_sent,
        late_ticks=late_ticks,
        frames_lost=subscriber.lost,
        frames_refused=subscriber.refused,
        errors=runtime.errors,
    )
