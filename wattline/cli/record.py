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
from wattline.errors import Fatal
from wattline.pipeline import POWER
from wattline.power_streams import PowerStreams
from wattline.settings import CommonSettings, load
from wattline.wire.bus import Subscriber
from wattline.wire.order import stream_name
from wattline.wire.plausible import of_this_boot
from wattline.wire.recording import RecordingWriter

from .as_root import as_root
from .choice import choose, is_given
from .rights import rights_to

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
    parser.add_argument("--config", help=argparse.SUPPRESS)  # likewise
    parser.add_argument("--power.streams", dest="streams", help=argparse.SUPPRESS)  # likewise
    options, rest = parser.parse_known_args(arguments)
    values = {"--run": options.run, "--config": options.config, "--power.streams": options.streams}
    for flag, value in values.items():
        rest += [] if value is None else [flag, value]
    settings, _warnings = load(CommonSettings, "record", rest, os.environ)
    choice = choose(settings.run, is_given=is_given(settings.run), command="record")
    run = choice.run
    streams = settings.streams
    closed = _closed(run, streams.producers_of(TOPICS), as_root("record", arguments, run))
    counts: Counter[str] = Counter()
    with (
        _Until(options.for_s) as until,
        Subscriber(
            run, TOPICS, until.descriptor, frames_held_max=_FRAMES_HELD_MAX, guard=of_this_boot(streams)
        ) as subscriber,
        RecordingWriter(options.file, replace=options.force) as writer,
    ):
        names = _stream_names(streams)
        print(f"recording {', '.join(names)} of {run} to {options.file}", file=sys.stderr)
        try:
            _record(subscriber, writer, until, counts, _Troubles(closed, choice.hint))
        finally:
            print(_summary(writer, until.elapsed_s, counts, subscriber, names))
    if not counts:
        options.file.unlink()
        print(
            f"wattline record: no frame came, so {options.file} was not kept: is `wattline up` running in "
            f"{run}?" + (f" {choice.hint}" if choice.hint else ""),
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


def _stream_names(streams: PowerStreams) -> tuple[str, ...]:
    """Every stream that is recorded, as `stream_name` has it."""
    return tuple(name for topic in TOPICS for name in (streams.names if topic == POWER else (topic,)))


def _closed(run: Path, stages: Sequence[str], cure: str) -> tuple[str, ...]:
    """Stages whose streams this user may not read, said at once. Raises Fatal if it may read none."""
    rights = rights_to(run, stages)
    if rights.closed:
        complaint = rights.complaint(run, cure)
        if not rights.readable:
            raise Fatal(complaint, Fatal.PERMISSION)
        print(f"wattline record: {complaint}; recording the others", file=sys.stderr)
    return rights.closed


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


def _record(
    subscriber: Subscriber,
    writer: RecordingWriter,
    until: _Until,
    counts: Counter[str],
    troubles: "_Troubles",
) -> None:
    while left_s := until.left_s:
        subscriber.poll(round(min(_POLL_S, left_s) * 1000) + 1)
        for payload, frame in subscriber.receive_raw():
            writer.write(payload)
            counts[stream_name(frame)] += 1
        subscriber.connect()
        troubles.say_distrust(subscriber)
        if not counts:
            troubles.say_silence(until.elapsed_s)


class _Troubles:
    """Why frames may be missing, said once each."""

    def __init__(self, closed: Sequence[str], hint: str) -> None:
        """`closed`: services whose streams may not be read, which was said. `hint`: where Wattline runs."""
        self._closed = closed
        self._hint = hint
        self._said = ""
        self._is_silence_said = False

    def say_distrust(self, subscriber: Subscriber) -> None:
        """Say whose frames are not taken, if that has changed."""
        reasons = (why for service, why in subscriber.distrusted.items() if service not in self._closed)
        distrusted = "; ".join(reasons)
        if distrusted not in ("", self._said):
            print(f"wattline record: {distrusted}", file=sys.stderr)
        self._said = distrusted

    def say_silence(self, elapsed_s: float) -> None:
        """Say that no frame has come, after some seconds."""
        if elapsed_s > _SILENCE_S and not self._is_silence_said:
            self._is_silence_said = True
            text = f"wattline record: no frame has come yet: is `wattline up` running? {self._hint}"
            print(text.rstrip(), file=sys.stderr)


def _summary(
    writer: RecordingWriter,
    elapsed_s: float,
    counts: Mapping[str, int],
    subscriber: Subscriber,
    names: Sequence[str],
) -> str:
    frames = ", ".join(f"{name} {counts.get(name, 0)}" for name in names)
    lost = ", ".join(f"{name} {subscriber.lost[name]}" for name in names if name in subscriber.lost)
    refused = ", ".join(f"{count} {reason}" for reason, count in subscriber.refused.items())
    return (
        f"recorded {writer.frames} frames in {elapsed_s:.1f} s, {writer.bytes} bytes: {frames}; "
        f"lost: {lost or 'none'}" + (f"; refused, as no frames: {refused}" if refused else "")
    )
