# SPDX-License-Identifier: Apache-2.0
"""Order, gaps and repeats in the streams a subscriber reads."""

from dataclasses import dataclass, field

from .frames import AnyFrame


@dataclass
class _Stream:
    boot_id: str
    run: int
    seq: int
    position: tuple[int, int]


@dataclass
class StreamOrder:
    """Lets each frame through once and in order, per topic and producer.

    A frame is new if its (epoch, mono_ns) is above the last one's. Older and repeated ones are dropped and
    are no error. Frames missing between two numbers of one run are counted as lost. Another boot, whose
    clock began again, begins a new stream.
    """

    lost: dict[str, int] = field(default_factory=dict)
    _streams: dict[tuple[str, str], _Stream] = field(default_factory=dict)

    def admit(self, frame: AnyFrame) -> bool:
        """Whether to use this frame."""
        position = (frame.epoch, frame.mono_ns)
        stream = self._streams.get((frame.topic, frame.producer))
        if stream is None or stream.boot_id != frame.boot_id:
            self._streams[frame.topic, frame.producer] = _Stream(
                frame.boot_id, frame.run, frame.seq, position
            )
            return True
        if frame.run == stream.run and frame.seq > stream.seq:
            missing = frame.seq - stream.seq - 1
            if missing:
                self.lost[frame.topic] = self.lost.get(frame.topic, 0) + missing
            stream.seq = frame.seq
        if position <= stream.position:
            return False
        # Only here: a late frame of a former run must not make us forget where this run's numbers are.
        if frame.run != stream.run:
            stream.run, stream.seq = frame.run, frame.seq
        stream.position = position
        return True
