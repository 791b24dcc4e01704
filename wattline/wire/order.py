# SPDX-License-Identifier: Apache-2.0
"""Order, gaps and repeats in the streams a subscriber reads."""

from dataclasses import dataclass, field

from .frames import AnyFrame


@dataclass
class _Stream:
    run: int
    seq: int
    position: tuple[int, int]


@dataclass
class StreamOrder:
    """Lets each frame through once and in order, per topic and producer.

    A frame is new if its (epoch, mono_ns) is above the last one's. Older and repeated ones are dropped and
    are no error. Frames missing between two numbers of one run are counted as lost.
    """

    lost: dict[str, int] = field(default_factory=dict)
    _streams: dict[tuple[str, str], _Stream] = field(default_factory=dict)

    def admit(self, frame: AnyFrame) -> bool:
        """Whether to use this frame."""
        position = (frame.epoch, frame.mono_ns)
        stream = self._streams.get((frame.topic, frame.producer))
        if stream is None:
            self._streams[frame.topic, frame.producer] = _Stream(frame.run, frame.seq, position)
            return True
        if frame.run == stream.run and frame.seq > stream.seq + 1:
            self.lost[frame.topic] = self.lost.get(frame.topic, 0) + frame.seq - stream.seq - 1
        if frame.run != stream.run or frame.seq > stream.seq:
            stream.run, stream.seq = frame.run, frame.seq
        if position <= stream.position:
            return False
        stream.position = position
        return True
