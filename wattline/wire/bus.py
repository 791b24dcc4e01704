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

from wattline.errors import Fatal, Retry

from . import shared
from .codec import FRAME_BYTES_MAX, decode, encode
from .frames import PRODUCER_OF_TOPIC, AnyFrame
from .last import read_trusted
from .order import StreamOrder
from .packed import FrameError
from .rundir import SERVICES, ServiceDirectory

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
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, 0)
        # A dead predecessor leaves its socket file; we hold the lock, so nobody listens there.
        directory.socket.unlink(missing_ok=True)
        self._socket.bind(endpoint(str(directory.socket)))
        directory.socket.chmod(_SOCKET_MODE)
        self.frames_sent = 0

    def publish(self, frame: AnyFrame, *, is_state: bool) -> None:
        """Send a frame; with `is_state` it is also what late joiners start from."""
        data = encode(frame)
        if is_state:
            self._last.write(data)
        self._socket.send_multipart((frame.topic.encode(), data), copy=False)
        self.frames_sent += 1

    def close(self) -> None:
        """Take the socket away; the `last` file stays for whoever comes next."""
        self._socket.close()
        self._last.close()
        self._directory.socket.unlink(missing_ok=True)


def read_last(directory: ServiceDirectory) -> AnyFrame | None:
    """The last frame a service published, though it may be dead; None if there is none to trust."""
    last = _read_last(directory)
    return last[1] if last is not None else None


def _read_last(directory: ServiceDirectory) -> tuple[bytes, AnyFrame] | None:
    """(the payload, the frame in it)."""
    payload = read_trusted(directory)
    try:
        return None if payload is None else (payload, decode(payload))
    except FrameError:
        return None


def _decode_message(parts: list[bytes]) -> AnyFrame:
    if len(parts) != _PARTS:
        raise FrameError("parts", f"expected {_PARTS} message parts, got {len(parts)}")
    # ZeroMQ subscribes by prefix: "power" would let "powerful" through.
    return decode(parts[1], parts[0].decode("ascii", "replace"))


class Subscriber:
    """Frames of some topics, in order and each once, beginning with what the `last` files hold.

    Whoever publishes a topic may start, die and return at any time.
    """

    def __init__(
        self,
        run: Path,
        topics: Iterable[str],
        wakeup_descriptor: int | None = None,
        *,
        frames_held_max: int = HIGH_WATER_MARK,
    ) -> None:
        """`wakeup_descriptor`: a descriptor that ends a poll when it is readable.

        `frames_held_max`: so many frames of each publisher wait for us before more are dropped.
        """
        self._topics = frozenset(topics)
        self._frames_held_max = frames_held_max
        services = {PRODUCER_OF_TOPIC[topic] for topic in self._topics if topic in PRODUCER_OF_TOPIC}
        if "status" in self._topics:
            services.update(SERVICES)
        self._waiting = {service: ServiceDirectory(run, service) for service in sorted(services)}
        self._catch_up: list[tuple[bytes, AnyFrame]] = []
        self._messages: deque[list[bytes]] = deque()  # taken from the socket, not looked at yet
        self._order = StreamOrder()
        self._poller = zmq.Poller()
        self._dropped: set[str] = set()
        # Who wants no topic has no socket: its threads would outlive a change of privileges.
        self._sockets = self._open() if self._topics else None
        if wakeup_descriptor is not None:
            self._poller.register(wakeup_descriptor, zmq.POLLIN)
        self.refused: dict[str, int] = {}
        self.refusals: dict[str, str] = {}  # the newest one's words, by reason, for whoever logs them
        self.distrusted: dict[str, str] = {}
        self.connect()

    def _open(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """(the SUB socket, the monitor of its connections)."""
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, self._frames_held_max)
        socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
        socket.setsockopt(zmq.LINGER, 0)
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._poller.register(socket, zmq.POLLIN)
        # Rare events only: ZeroMQ stops altogether when a thousand of them wait to be read.
        return socket, socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)

    @property
    def lost(self) -> dict[str, int]:
        """Frames that never arrived, by topic."""
        return self._order.lost

    def connect(self) -> None:
        """Connect to services that have appeared since; call now and then."""
        if self._sockets is None:
            return
        socket, monitor = self._sockets
        self._return_to_dropped(socket, monitor)
        for service, directory in list(self._waiting.items()):
            try:
                distrust = directory.distrust()
            except Retry:
                continue
            if distrust is not None:
                self.distrusted[service] = distrust
                continue
            self.distrusted.pop(service, None)
            socket.connect(endpoint(str(directory.socket)))
            del self._waiting[service]
            last = _read_last(directory)
            if last is not None and last[1].topic in self._topics:
                self._catch_up.append(last)

    def poll(self, timeout_ms: int) -> None:
        """Wait for a frame, for the wakeup descriptor, or for the time to pass."""
        if not self._catch_up and not self._messages:
            # Interrupted by a signal: as good as a wake-up.
            with contextlib.suppress(InterruptedError):
                self._poller.poll(max(0, timeout_ms))

    def receive(self, *, newest_only: bool = False) -> Iterator[AnyFrame]:
        """What has arrived by now. Bad frames are counted in `refused` by reason, and passed over.

        With `newest_only`, frames of a topic that a newer one has caught up with are passed over (they count
        as lost): frames are cumulative, so who is behind gains by it. `status` has many publishers and is
        given whole.
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
            payload, frame = self._catch_up.pop(0)
            yield payload, frame, self._order.admit(frame)
        self._take_messages()
        while self._messages:
            parts = self._messages.popleft()
            if (
                newest_only
                and parts[0] != b"status"
                and any(parts[0] == later[0] for later in self._messages)
            ):
                continue
            try:
                frame = _decode_message(parts)
            except FrameError as error:
                self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
                self.refusals[error.reason] = str(error)
                continue
            yield parts[1], frame, self._order.admit(frame)

    def _take_messages(self) -> None:
        # Bounded: a publisher faster than we are must not keep us here for ever.
        while self._sockets is not None and len(self._messages) < HIGH_WATER_MARK * len(SERVICES):
            try:
                self._messages.append(self._sockets[0].recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _return_to_dropped(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """Connect again where ZeroMQ may not.

        It retries a publisher that died, but leaves for good one that broke its rules, as by a message above
        the size limit. Here both are called again, once; the frames missed are seen as lost by their numbers.
        """
        dropped_before = set(self._dropped)
        while monitor.poll(0):
            described, endpoint_bytes = monitor.recv_multipart()
            event, _value = _MONITOR_EVENT.unpack(described)
            where = os.fsdecode(endpoint_bytes)
            if event == zmq.EVENT_DISCONNECTED:
                self._dropped.add(where)
            else:
                self._dropped.discard(where)
        for where in dropped_before & self._dropped:  # ZeroMQ had the time between two calls to come back
            self._dropped.discard(where)
            with contextlib.suppress(zmq.ZMQError):  # it may have forgotten the endpoint already
                socket.disconnect(where)
            socket.connect(where)

    def close(self) -> None:
        """Disconnect."""
        if self._sockets is not None:
            socket, monitor = self._sockets
            socket.disable_monitor()
            monitor.close()
            socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
