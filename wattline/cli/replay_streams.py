# SPDX-License-Identifier: Apache-2.0
"""The streams of a replay: recorded frames published again, each where its own service would publish it."""

from pathlib import Path
from typing import Self

from wattline.errors import Fatal
from wattline.wire.bus import Publisher
from wattline.wire.frames import AnyFrame
from wattline.wire.rundir import Lock, ServiceDirectory, lock_holder


class ReplayStreams:
    """Publishes on behalf of probe, power streams and metadata, where none of them runs."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._open: dict[str, tuple[Lock, Publisher]] = {}

    def publish(self, frame: AnyFrame) -> None:
        """Send a frame on its stream, and leave it as the last one there.

        Its producer was checked against its topic, as RecordedFrames does.
        """
        if frame.producer not in self._open:
            self._open[frame.producer] = self._opened(frame.producer)
        self._open[frame.producer][1].publish(frame, is_state=True)

    def close(self) -> None:
        """Take the sockets away; the last frames stay."""
        for lock, publisher in self._open.values():
            publisher.close()
            lock.close()
        self._open = {}

    def _opened(self, service: str) -> tuple[Lock, Publisher]:
        directory = ServiceDirectory(self._run, service)
        directory.prepare()
        lock = Lock(directory.lock)
        if not lock.acquire():
            lock.close()
            raise Fatal(
                f"a {service} (pid {lock_holder(directory.lock)}) runs in {self._run}: give the replay "
                "another --run"
            )
        return lock, Publisher(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
