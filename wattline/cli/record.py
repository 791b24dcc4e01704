# SPDX-License-Identifier: Apache-2.0
"""`wattline record FILE`: keep every frame that the calculator is sent, to look at or to replay later.

The file is private (0600): it holds the name of every process of this node.
"""

import argparse
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from wattline.cli import COMMON_FLAGS
from wattline.settings import CommonSettings, load
from wattline.wire.bus import Subscriber
from wattline.wire.recording import RecordingWriter

TOPICS = ("activity", "power", "metadata")  # what the calculator reads
_POLL_S = 0.2  # also how often to look for services that have appeared
_SILENCE_S = 5.0
# A slow disk may keep us this many frames per service (of some 100 kB each) without a loss.
_FRAMES_HELD_MAX = 64
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smh])")


def main(arguments: Sequence[str]) -> int:
    """Record until the time is over, Ctrl-C or SIGTERM; exit code 1 if no frame came."""
    parser = argparse.ArgumentParser(prog="wattline record", description=__doc__, epilog=COMMON_FLAGS)
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument(
        "--for", dest="for_s", metavar="TIME", type=duration_s, help="30s, 5m or 1h (default: until Ctrl-C)"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--run", help=argparse.SUPPRESS)  # named here only so that its value isn't FILE
    options, rest = parser.parse_known_args(arguments)
    if options.run is not None:
        rest += ["--run", options.run]
    settings, _warnings = load(CommonSettings, "record", rest, os.environ)
    counts: Counter[str] = Counter()
    with (
        _Until(options.for_s) as until,
        Subscriber(settings.run, TOPICS, until.descriptor, frames_held_max=_FRAMES_HELD_MAX) as subscriber,
        RecordingWriter(options.file, replace=options.force) as writer,
    ):
        print(f"recording {', '.join(TOPICS)} of {settings.run} to {options.file}", file=sys.stderr)
        try:
            _record(subscriber, writer, until, counts)
        finally:
            print(_summary(writer, until.elapsed_s, counts, subscriber))
    if not counts:
        options.file.unlink()
        print(
            f"wattline record: no frame came, so {options.file} was not kept: is `wattline up` running in "
            f"{settings.run}?",
            file=sys.stderr,
        )
        return 1
    return 0


def duration_s(text: str) -> float:
    """Seconds of a duration like 30s, 5m or 1h. Raises ArgumentTypeError."""
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected a time above 0 like 30s, 5m or 1h, got {text!r:.40}")
    return float(match[1]) * _UNITS_S[match[2]]


class _Until:
    """The end of the recording: a time, or a signal, which also makes `descriptor` readable."""

    def __init__(self, for_s: float | None) -> None:
        self._begun_s = time.monotonic()
        self._for_s = float("inf") if for_s is None else for_s
        self._signalled = False
        self._wakeup, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)

    @property
    def descriptor(self) -> int:
        """Readable after a signal."""
        return self._wakeup.fileno()

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begun_s

    @property
    def left_s(self) -> float:
        """Until the end; 0 if it has come."""
        return 0.0 if self._signalled else max(0.0, self._for_s - self.elapsed_s)

    def _stop(self, _number: int, _frame: object) -> None:
        self._signalled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.set_wakeup_fd(-1)
        self._wakeup.close()
        self._writer.close()


def _record(subscriber: Subscriber, writer: RecordingWriter, until: _Until, counts: Counter[str]) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    said, silent = "", True
    while left_s := until.left_s:
        subscriber.poll(round(min(_POLL_S, left_s) * 1000) + 1)
        for payload, frame in subscriber.receive_raw():
            # A `last` file may have outlived its boot, whose clock is another.
            if frame.boot_id == boot_id:
                writer.write(payload)
                counts[frame.topic] += 1
        subscriber.connect()
        distrusted = "; ".join(subscriber.distrusted.values())
        if distrusted not in ("", said):
            print(f"wattline record: {distrusted}", file=sys.stderr)
        said = distrusted
        if silent and not counts and until.elapsed_s > _SILENCE_S:
            print("wattline record: no frame has come yet: is `wattline up` running?", file=sys.stderr)
            silent = False


def _summary(
    writer: RecordingWriter, elapsed_s: float, counts: Mapping[str, int], subscriber: Subscriber
) -> str:
    frames = ", ".join(f"{topic} {counts.get(topic, 0)}" for topic in TOPICS)
    lost = ", ".join(f"{topic} {subscriber.lost[topic]}" for topic in TOPICS if topic in subscriber.lost)
    refused = ", ".join(f"{count} {reason}" for reason, count in subscriber.refused.items())
    return (
        f"recorded {writer.frames} frames in {elapsed_s:.1f} s, {writer.bytes} bytes: {frames}; "
        f"lost: {lost or 'none'}" + (f"; refused, as no frames: {refused}" if refused else "")
    )
