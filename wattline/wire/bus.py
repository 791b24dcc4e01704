# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe between services. The only module that knows ZeroMQ."""

import contextlib
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import zmq

from wattline import descriptors
from wattline.errors import Fatal, Retry
from wattline.pipeline import SERVICES
from wattline.power_streams import ONLY_POWER

from . import shared
from .codec import FRAME_BYTES_MAX, decode, encode
from .frames import AnyFrame
from .last import read_trusted
from .order import StreamOrder, stream_name
from .packed import FrameError
from .plausible import Guard, check_speaker
from .rundir import ServiceDirectory

# A stopped subscriber may pin this many frames on each side: megabytes, where ZeroMQ's default of 1000
# would be gigabytes. Frames are full and cumulative, so dropping is harmless.
HIGH_WATER_MARK = 4
_SOCKET_MODE = 0o770  # the common group connects; ZeroMQ would make it 0755, on which connect fails
_PARTS = 2
# Event and value; man 3 zmq_socket_monitor. Unpacked here because pyzmq's own way to do it lies in a module
# that brings asyncio and ssl along, 8 MB in each of five processes.
_MONITOR_EVENT = struct.Struct("=HI")


def endpoint(text: str) -> str:
    """The endpoint as ZeroMQ wants it; raises Fatal for one that would not be safe."""
    if text.startswith("ipc://"):
        return text
    if text.startswith("tcp://"):
        raise Fatal(
            f"endpoint {text}: tcp:// is refused, for it would carry frames unencrypted and from anyone; "
            "expected ipc:// or a path in WATTLINE_RUN",
            Fatal.SETTINGS,
        )
    if "://" in text:
        raise Fatal(f"endpoint {text}: expected ipc:// or a path, got another transport", Fatal.SETTINGS)
    return f"ipc://{text}"


def end_threads() -> None:
    """End ZeroMQ's threads, which keep the privileges that they were started with.

    All sockets must be closed before; the next one starts new threads.
    """
    zmq.Context.instance().term()


class Publisher:
    """The PUB socket and the `last` file of one service. The caller holds the service's lock."""

    def __init__(self, directory: ServiceDirectory) -> None:
        self._directory = directory
        self._last = shared.SlotWriter(directory.last)
        self._binds = 0
        self._socket_file: tuple[int, int] | None = None
        self._socket = self._bound()
        self.frames_sent = 0
        self.faults: dict[str, str] = {}  # of the newest frame: event and cause

    def _bound(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.LINGER, 0)
        # Bound under a name of its own, because ZeroMQ removes that name when it closes the socket, at a time
        # of its own: by then `stream.sock` may be the next one. A dead publisher's is replaced by the rename.
        self._binds += 1
        name = self._directory.path / f".b{os.getpid()}.{self._binds % 10}"
        try:
            name.unlink(missing_ok=True)
            socket.bind(endpoint(str(name)))
            name.chmod(_SOCKET_MODE)
            name.replace(self._directory.socket)
        except BaseException:
            socket.close()
            raise
        self._socket_file = shared.file_at(self._directory.socket)
        return socket

    def publish(self, frame: AnyFrame, *, is_state: bool) -> None:
        """Send a frame; with `is_state` it is also what late joiners start from.

        What concerns late joiners only is in `faults` and does not keep the frame from being sent.
        """
        self.faults = {}
        data = encode(frame)
        if is_state:
            try:
                self._last.write(data)
            except OSError as error:
                self.faults["last_not_kept"] = str(error)
        self._send_whole(frame.topic.encode(), data)
        self.frames_sent += 1
        if shared.file_at(self._directory.socket) != self._socket_file:
            self._bind_anew("socket_lost", "was removed or replaced", "is gone")
        elif (crowd := descriptors.crowd()) is not None:
            # The number isn't in the text: the log prints an unchanged cause once.
            many = f"has too many connections (more than {crowd[1]} descriptors are open)"
            self._bind_anew("connections_cut", many, many)

    def _bind_anew(self, event: str, why: str, why_not: str) -> None:
        """Replace the socket, and with it all connections; readers reconnect by its path."""
        try:
            fresh = self._bound()
        except (OSError, zmq.ZMQError) as error:
            # Not the error's text: it has the name that we bind, and the log prints an unchanged cause once.
            cause = os.strerror(error.errno or 0)
            self.faults[event] = f"{self._directory.socket} {why_not} and can't be made anew: {cause}"
            return
        self._socket.close()
        self._socket = fresh
        self.faults[event] = f"{self._directory.socket} {why}: made anew"

    def _send_whole(self, topic: bytes, data: bytes) -> None:
        """Send both parts, or none.

        After a failed second part the first one would stay in the socket and begin the next message, and all
        later messages would be shifted by a part. A new socket begins with an empty message; subscribers
        connect to it by themselves. The data is copied: pyzmq's way without a copy needs a thread of its own.
        """
        try:
            self._socket.send(topic, zmq.SNDMORE)
            self._socket.send(data)
        except BaseException:
            self._socket.close()
            self._socket = self._bound()
            raise

    def close(self) -> None:
        """Take the socket away; the `last` file stays for whoever comes next."""
        self._socket.close()
        self._last.close()
        self._directory.socket.unlink(missing_ok=True)


def read_last(directory: ServiceDirectory) -> AnyFrame | None:
    """The last frame of a service, which may have ended; None if there is none of its own to trust."""
    last = _read_last(directory)
    return last[1] if last is not None else None


def _read_last(directory: ServiceDirectory) -> tuple[bytes, AnyFrame] | None:
    """(the payload, the frame in it)."""
    payload = read_trusted(directory)
    try:
        if payload is None:
            return None
        frame = decode(payload)
        check_speaker(frame, directory.path.name)
    except FrameError:
        return None
    return payload, frame


def _decode_message(parts: list[bytes]) -> AnyFrame:
    if len(parts) != _PARTS:
        raise FrameError("parts", f"expected {_PARTS} message parts, got {len(parts)}")
    # ZeroMQ subscribes by prefix: "power" would let "powerful" through.
    return decode(parts[1], parts[0].decode("ascii", "replace"))


class _Connection:
    """The connection to one service. A socket of its own tells whose directory a message came from."""

    def __init__(self, directory: ServiceDirectory, topics: Iterable[str], frames_held_max: int) -> None:
        self.service = directory.path.name
        self.messages: deque[list[bytes]] = deque()  # taken from the socket, not looked at yet
        self._is_dropped = False
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, frames_held_max)
        self.socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
        self.socket.setsockopt(zmq.LINGER, 0)
        # All that the reader wants, so that what this service must not publish is seen and counted.
        for topic in topics:
            self.socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        # Rare events only: ZeroMQ stops altogether when a thousand of them wait to be read.
        self._monitor: zmq.Socket[bytes] = self.socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )
        self._endpoint = endpoint(str(directory.socket))
        self.socket.connect(self._endpoint)

    def take_messages(self) -> None:
        """Take what has arrived. Bounded: a publisher faster than we are must not keep us here for ever."""
        while len(self.messages) < HIGH_WATER_MARK * len(SERVICES):
            try:
                self.messages.append(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def return_if_dropped(self) -> None:
        """Connect again where ZeroMQ may not.

        It retries a publisher that died, but leaves for good one that broke its rules, as by a message above
        the size limit. Here both are called again, once; the frames missed are seen as lost by their numbers.
        """
        was_dropped = self._is_dropped
        while self._monitor.poll(0):
            described, _endpoint = self._monitor.recv_multipart()
            event, _value = _MONITOR_EVENT.unpack(described)
            self._is_dropped = event == zmq.EVENT_DISCONNECTED
        if was_dropped and self._is_dropped:  # ZeroMQ had the time between two calls to come back
            self._is_dropped = False
            with contextlib.suppress(zmq.ZMQError):  # it may have forgotten the endpoint already
                self.socket.disconnect(self._endpoint)
            self.socket.connect(self._endpoint)

    def close(self) -> None:
        """Disconnect."""
        self.socket.disable_monitor()
        self._monitor.close()
        self.socket.close()


class Subscriber:
    """Frames of some topics, in order and each once, beginning with what the `last` files hold.

    Every publisher may start, die and return at any time. A frame is checked before it is kept: by `guard`,
    and that it was published in the directory of the stage that it names. Of the power streams, only those
    that the guard has are connected to.
    """

    def __init__(
        self,
        run: Path,
        topics: Iterable[str],
        wakeup_descriptor: int | None = None,
        *,
        frames_held_max: int = HIGH_WATER_MARK,
        guard: Guard | None = None,
    ) -> None:
        """`wakeup_descriptor`: a descriptor that ends a poll when it is readable.

        `frames_held_max`: so many frames of each publisher wait for us before more are dropped.
        """
        self._topics = frozenset(topics)
        self._frames_held_max = frames_held_max
        self._guard = Guard() if guard is None else guard
        streams = self._guard.streams if self._guard.streams is not None else ONLY_POWER
        # Who wants no topic opens no socket: its threads would outlive a change of privileges.
        self._waiting = {
            stage: ServiceDirectory(run, stage, streams.uid_of(stage))
            for stage in sorted(streams.producers_of(self._topics))
        }
        self._catch_up: list[tuple[str, bytes, AnyFrame]] = []
        self._connections: list[_Connection] = []
        self._order = StreamOrder()
        self._poller = zmq.Poller()
        if wakeup_descriptor is not None:
            self._poller.register(wakeup_descriptor, zmq.POLLIN)
        self.refused: dict[str, int] = {}
        self.refusals: dict[str, str] = {}  # the newest one's words, by reason, for the reader's log
        self.distrusted: dict[str, str] = {}
        self.connect()

    @property
    def lost(self) -> dict[str, int]:
        """Frames that never arrived, by `stream_name`."""
        return self._order.lost

    def connect(self) -> None:
        """Connect to services that have appeared since; call now and then."""
        for connection in self._connections:
            connection.return_if_dropped()
        for service, directory in list(self._waiting.items()):
            try:
                distrust = directory.distrust()
            except Retry:
                continue
            if distrust is not None:
                self.distrusted[service] = distrust
                continue
            self.distrusted.pop(service, None)
            connection = _Connection(directory, self._topics, self._frames_held_max)
            self._connections.append(connection)
            self._poller.register(connection.socket, zmq.POLLIN)
            del self._waiting[service]
            last = _read_last(directory)
            if last is not None and last[1].topic in self._topics:
                self._catch_up.append((service, *last))

    def poll(self, timeout_ms: int) -> None:
        """Wait for a frame, for the wakeup descriptor, or for the time to pass."""
        if not self._catch_up and not any(connection.messages for connection in self._connections):
            # Interrupted by a signal: as good as a wake-up.
            with contextlib.suppress(InterruptedError):
                self._poller.poll(max(0, timeout_ms))

    def receive(self, *, newest_only: bool = False) -> Iterator[AnyFrame]:
        """What has arrived by now. Bad frames are counted in `refused` by reason, and passed over.

        With `newest_only`, frames of a topic that a newer one has caught up with are passed over (they count
        as lost): frames are cumulative, so a reader that is behind gains by it.
        """
        for _payload, frame, is_new in self._arrived(newest_only=newest_only):
            if is_new:
                yield frame

    def receive_raw(self) -> Iterator[tuple[bytes, AnyFrame]]:
        """(payload as it came, the frame in it) of every frame that has arrived by now, repeats included."""
        for payload, frame, _is_new in self._arrived(newest_only=False):
            yield payload, frame

    def _arrived(self, *, newest_only: bool) -> Iterator[tuple[bytes, AnyFrame, bool]]:
        """(payload, frame, whether it is in order and no repeat)."""
        while self._catch_up:
            service, payload, frame = self._catch_up.pop(0)
            if self._is_accepted(frame, service):
                yield payload, frame, self._admit(frame)
        for connection in self._connections:
            connection.take_messages()
        # One of each in turn, so that no publisher holds up the others.
        while waiting := [connection for connection in self._connections if connection.messages]:
            for connection in waiting:
                yield from self._opened(connection, newest_only=newest_only)

    def _opened(
        self, connection: _Connection, *, newest_only: bool
    ) -> Iterator[tuple[bytes, AnyFrame, bool]]:
        """The oldest message of a connection, unless it is refused or passed over."""
        parts = connection.messages.popleft()
        if newest_only and any(parts[0] == later[0] for later in connection.messages):
            return
        try:
            frame = _decode_message(parts)
        except FrameError as error:
            self._refuse(error)
            return
        if self._is_accepted(frame, connection.service):
            yield parts[1], frame, self._admit(frame)

    def _is_accepted(self, frame: AnyFrame, service: str) -> bool:
        try:
            self._guard.check(frame, service)
        except FrameError as error:
            self._refuse(error)
            return False
        return True

    def _admit(self, frame: AnyFrame) -> bool:
        name = stream_name(frame)
        contradicted = self._order.contradicted.get(name, 0)
        is_new = self._order.admit(frame)
        if not is_new and self._order.contradicted.get(name, 0) > contradicted:
            self._refuse(
                FrameError("older_epoch", f"{name}: epoch {frame.epoch} is below that of an earlier frame")
            )
        return is_new

    def _refuse(self, error: FrameError) -> None:
        self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
        self.refusals[error.reason] = str(error)

    def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
