# SPDX-License-Identifier: Apache-2.0
"""Order, gaps and repeats in the streams a subscriber reads."""

from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.pipeline import POWER, is_extra_stream
from wattline.second_look import SecondLook

from .frames import AnyFrame

_MISSING_MAX = 2**32  # no stage sends so many frames in one run: a number beyond is wrong


def stream_name(frame: AnyFrame) -> str:
    """The name by which frames of a stream are counted: the topic, or power-bmc for that power stream.

    The status frames of all stages count as one.
    """
    return frame.producer if frame.topic == POWER and is_extra_stream(frame.producer) else frame.topic


class _Position(NamedTuple):
    epoch: int
    mono_ns: int
    run: int


def _follows(earlier: _Position, later: _Position) -> bool:
    return (earlier.epoch, earlier.run) == (later.epoch, later.run) and earlier.mono_ns < later.mono_ns


@dataclass
class _Stream:
    boot_id: str
    run: int
    seq: int
    position: _Position
    older_epoch: SecondLook[_Position] = field(default_factory=SecondLook)


@dataclass
class StreamOrder:
    """Lets each frame through once and in order, per stream: topic and producer.

    A frame is new if its (epoch, mono_ns) is above the last one's. Older and repeated ones are dropped and
    are no error. Frames missing between two numbers of one run are counted as lost. Another boot, whose
    clock began again, begins a new stream.

    A frame of an older epoch and a later time contradicts the last one. It is dropped, and counted in
    `contradicted`; after some in a row the stream goes on from them.

    `lost` and `contradicted` count by `stream_name`.
    """

    lost: dict[str, int] = field(default_factory=dict)
    contradicted: dict[str, int] = field(default_factory=dict)
    _streams: dict[tuple[str, str], _Stream] = field(default_factory=dict)

    def admit(self, frame: AnyFrame) -> bool:
        """Return True if this frame is to be used."""
        position = _Position(frame.epoch, frame.mono_ns, frame.run)
        name = stream_name(frame)
        stream = self._streams.get((frame.topic, frame.producer))
        if stream is None or stream.boot_id != frame.boot_id:
            self._streams[frame.topic, frame.producer] = _Stream(
                frame.boot_id, frame.run, frame.seq, position
            )
            return True
        if frame.run == stream.run and frame.seq > stream.seq:
            missing = frame.seq - stream.seq - 1
            if 0 < missing < _MISSING_MAX:
                self.lost[name] = self.lost.get(name, 0) + missing
            if missing < _MISSING_MAX:
                stream.seq = frame.seq
        if position[:2] <= stream.position[:2] and not self._wins(stream, position, name):
            return False
        # Only here: a late frame of a former run must not make us forget where this run's numbers are.
        if frame.run != stream.run:
            stream.run, stream.seq = frame.run, frame.seq
        stream.position = position
        stream.older_epoch.clear()
        return True

    def _wins(self, stream: _Stream, position: _Position, name: str) -> bool:
        """Return True if a frame that isn't above the last one is used all the same."""
        if position.epoch >= stream.position.epoch or position.mono_ns <= stream.position.mono_ns:
            return False
        self.contradicted[name] = self.contradicted.get(name, 0) + 1
        return stream.older_epoch.reject(position, _follows)
