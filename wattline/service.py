# SPDX-License-Identifier: Apache-2.0
"""The run loop that every service uses: settings, lock, ticks, frames in and out, signals, status.

A service gives a Stage; this module calls it and is the only place where errors are caught.
"""

import codecs
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from . import __version__
from .clock import FrameClock, Pace, Schedule
from .errors import Fatal, Gone, Retry
from .log import Log
from .settings import CommonSettings, ReplaySettings, load
from .wire.bus import Publisher, Subscriber, read_last
from .wire.frames import AnyFrame, Frame, Status
from .wire.recorded import RecordedFrames
from .wire.rundir import Lock, ServiceDirectory, lock_holder

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
_LOCK_RETRY_MS = 200
_WAIT_MAX_S = 3600  # a recording may have any time in it, select may not

SettingsT = TypeVar("SettingsT", bound=CommonSettings)


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
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self.interval_ns = settings.interval_ns
        self.run = settings.run
        self.directory = ServiceDirectory(settings.run, service)
        self._frame_clock = FrameClock() if first is not None or settings.clock == "frames" else None
        self.has_time = self._frame_clock is None
        if first is not None:
            self.take_time(first)
        self.started_ns = self.now_ns()
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
        return last if last is not None and (last.boot_id, last.node) == (self.boot_id, self.node) else None

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
            **fields,
        )
        self._seq[frame_type.topic] += 1
        self._publisher.publish(frame, is_state=is_state)  # type: ignore[arg-type]

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


Build = Callable[[SettingsT, Runtime], Stage]


def main(
    service: str,
    settings_type: type[SettingsT],
    build: Build[SettingsT],
    *,
    topics: Sequence[str] = (),
    phase_ratio: float = 0.0,
    groups: Callable[[SettingsT], Sequence[int]] = lambda _settings: (),
) -> int:
    """Run a service until it is told to stop; its exit code.

    `topics`: what it subscribes to. `phase_ratio`: when within the interval it ticks, 0 to 1. `groups`: which
    other groups it needs if it changes its user, asked before it does.
    """
    log = Log(service)
    try:
        settings, warnings = load(settings_type, service, sys.argv[1:], os.environ)
        log.level = settings.log_level
        for warning in warnings:
            log.warning("settings", cause=warning)
        if settings.user:
            drop_privileges(settings.user, groups(settings))
        if settings.die_with_parent:
            _die_with_parent()
        return _Loop(service, settings, log, topics, phase_ratio).run(build)
    except Fatal as error:
        log.error("fatal", cause=error, exit_code=error.exit_code)
        return error.exit_code


def drop_privileges(user: str, groups: Sequence[int] = ()) -> None:
    """Become UID:GID for good, with no groups but these; unless UID is 0, without capabilities or a way back.

    Done by the loaded service rather than at its start, so that the code may lie where only root can read.
    What Python would load later on, it loads now.
    """
    for encoding in ("ascii", "latin-1", "idna"):
        codecs.lookup(encoding)
    uid, gid = (int(part) for part in user.split(":"))
    if os.geteuid() != 0:
        if (os.geteuid(), os.getegid()) == (uid, gid):
            return
        raise Fatal(
            f"--user {user}: only root can change its user; this is uid {os.geteuid()}", Fatal.PERMISSION
        )
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    if uid:
        os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        # The number -1 (4294967295) means "leave it as it is" to the kernel.
        raise Fatal(f"--user {user}: the kernel did not take it, expected an ordinary number", Fatal.SETTINGS)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o027)


def _die_with_parent() -> None:
    # After any change of user, which would clear it (man 2 prctl).
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise Fatal("the process that started this one has ended")


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise Fatal(f"prctl({option}, {value}): {os.strerror(ctypes.get_errno())}")


class _Loop:
    """One service in one process: first perhaps a standby, then one run."""

    def __init__(
        self, service: str, settings: CommonSettings, log: Log, topics: Sequence[str], phase_ratio: float
    ) -> None:
        self._service = service
        self._settings = settings
        self._log = log
        self._topics = topics
        self._schedule = Schedule(settings.interval_ns, round(settings.interval_ns * phase_ratio))
        self._stopping = False

    def run(self, build: Build[Any]) -> int:
        directory = ServiceDirectory(self._settings.run, self._service)
        directory.prepare()
        if _recording(self._settings) is not None:
            _check_new(directory)
        wakeup, wakeup_writer = socket.socketpair()
        with wakeup, wakeup_writer, Lock(directory.lock) as lock:
            self._catch_signals(wakeup, wakeup_writer)
            if not self._wait_for(lock, directory):
                return 0
            directory.pid.write_text(f"{os.getpid()}\n", encoding="ascii")
            try:
                self._live_or_replay(build, wakeup)
            finally:
                directory.pid.unlink(missing_ok=True)
        return 0

    def _catch_signals(self, wakeup: socket.socket, writer: socket.socket) -> None:
        def stop(_number: int, _frame: object) -> None:
            self._stopping = True

        wakeup.setblocking(False)  # noqa: FBT003 the socket API's own signature
        writer.setblocking(False)  # noqa: FBT003
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

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
            with RecordedFrames(Path(recording.replay), self._topics) as frames:
                runtime = Runtime(self._service, settings, self._log, frames.first)
                pace = Pace.of(recording.replay_speed)
                self._serve(build, runtime, _Replay(runtime, frames, self._schedule, pace, wakeup))
            return
        runtime = Runtime(self._service, settings, self._log)
        with Subscriber(settings.run, self._topics, wakeup.fileno()) as subscriber:
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
                    runtime.count("retry", error)
                except Fatal:
                    raise
                except Exception as error:  # noqa: BLE001 the one broad except: around one iteration
                    runtime.count("unexpected", f"{type(error).__name__}: {error} (at {_where(error)})")
        finally:
            try:
                if stage is not None:
                    stage.close()
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
    return f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at is not None else "?"


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
