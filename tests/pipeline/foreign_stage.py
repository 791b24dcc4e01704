# SPDX-License-Identifier: Apache-2.0
"""A stage that was taken over: in a running service's place, as its own user, saying what a test likes."""

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Self

import zmq

from wattline.wire.bus import read_last
from wattline.wire.codec import encode
from wattline.wire.frames import AnyFrame
from wattline.wire.rundir import ServiceDirectory

_PATIENCE_S = 20


class ForeignStage:
    """`with ForeignStage(run, "power")`: kills the service and takes its lock and socket until the end."""

    def __init__(self, run: Path, service: str) -> None:
        self.run = run
        self.directory = ServiceDirectory(run, service)
        self.last = {name: read_last(ServiceDirectory(run, name)) for name in ("probe", "power", "metadata")}
        self.last["calculator"] = read_last(ServiceDirectory(run, "calculator"))

    def __enter__(self) -> Self:
        owner = self.directory.path.stat()
        self._lock = os.open(self.directory.lock, os.O_RDWR | os.O_NOFOLLOW)
        os.kill(int(self.directory.pid.read_text(encoding="ascii")), signal.SIGKILL)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._has_lock():
            assert time.monotonic() < deadline_s
        self.directory.socket.unlink(missing_ok=True)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)  # tells when a reader has subscribed
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each of them, also to the same topic
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, 1000 * _PATIENCE_S)
        self._socket.bind(f"ipc://{self.directory.socket}")
        os.chown(self.directory.socket, owner.st_uid, owner.st_gid)
        self.directory.socket.chmod(0o770)
        return self

    def wait_for_readers(self, topic: str, count: int) -> None:
        """Until so many sockets have subscribed to a topic."""
        while count:
            count -= self._socket.recv() == b"\x01" + topic.encode()

    def send(self, frame: AnyFrame | bytes, topic: str | None = None) -> None:
        """Publish a frame, or bytes, under its topic or another."""
        data = frame if isinstance(frame, bytes) else encode(frame)
        self._socket.send_multipart([(topic or frame.topic).encode(), data])

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()
        self._context.term()
        self.directory.socket.unlink(missing_ok=True)
        os.close(self._lock)

    def _has_lock(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
