# SPDX-License-Identifier: Apache-2.0
"""The frames of a recording as a subscriber would have been given them: checked, in order and each once."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Self

from wattline.errors import Fatal
from wattline.power_streams import PowerStreams

from .codec import decode
from .frames import AnyFrame
from .order import StreamOrder
from .packed import FrameError
from .plausible import Guard
from .recording import RecordingReader


class RecordedFrames:
    """An iterator over the frames of some topics. `refused` counts, by reason, what was no good frame.

    `first` is the one that comes first. `torn` is told when the end has been read.
    """

    def __init__(self, path: Path, topics: Iterable[str], streams: PowerStreams | None = None) -> None:
        """Raises Fatal if it is no recording, or if there is no frame of these topics in it.

        `streams`: the power streams that count; None for all in it, which were checked when it was made.
        """
        self.path = path
        self.refused: dict[str, int] = {}
        self.refusals: dict[str, str] = {}  # the newest one's words, by reason
        self._topics = frozenset(topics)
        self._order = StreamOrder()
        self._newest_ns = 0
        self._guard = Guard(lambda: self._newest_ns, is_replay=True, streams=streams)
        self._reader = RecordingReader(path)
        frames = self._frames()
        try:
            self.first = self._first_of(frames)
        except BaseException:
            self.close()
            raise
        self._all = chain([self.first], frames)

    @property
    def lost(self) -> dict[str, int]:
        """Frames that are missing by their numbers, by `stream_name`."""
        return self._order.lost

    @property
    def torn(self) -> str:
        """What of the recording could not be read, in words."""
        return self._reader.torn

    def __iter__(self) -> Iterator[AnyFrame]:
        return self._all

    def __next__(self) -> AnyFrame:
        return next(self._all)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _first_of(self, frames: Iterator[AnyFrame]) -> AnyFrame:
        for frame in frames:
            return frame
        why = "; ".join(filter(None, (*self.refusals.values(), self.torn)))
        raise Fatal(
            f"{self.path} is a recording without a frame of {', '.join(sorted(self._topics))}"
            f"{f' ({why})' if why else ''}: was `wattline up` running when it was made?",
            Fatal.SETTINGS,
        )

    def _frames(self) -> Iterator[AnyFrame]:
        for payload in self._reader:
            try:
                frame = decode(payload)
                if frame.topic not in self._topics:
                    continue
                self._guard.check(frame, frame.producer)  # in the directory of that name, or it is forged
            except FrameError as error:
                self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
                self.refusals[error.reason] = str(error)
                continue
            if self._order.admit(frame):
                self._newest_ns = max(self._newest_ns, frame.mono_ns)
                yield frame
