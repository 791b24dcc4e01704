# SPDX-License-Identifier: Apache-2.0
"""`wattline tap [TOPIC…]`: what the services say to each other, a line a frame."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from wattline.boot import this_boot_id
from wattline.cli import COMMON_FLAGS
from wattline.errors import Fatal
from wattline.power_streams import PowerStreams
from wattline.settings import CommonSettings, load
from wattline.wire.bus import Subscriber, read_last
from wattline.wire.columns import Column
from wattline.wire.frames import FRAME_TYPES, AnyFrame
from wattline.wire.packed import FrameError
from wattline.wire.plausible import check_allowed, of_this_boot
from wattline.wire.rundir import ServiceDirectory, lock_holder

from .as_root import as_root
from .choice import Choice, choose, is_given
from .frame_age import is_fresh, remark
from .frame_text import line, rows
from .rights import rights_to

_POLL_MS = 200
_Shown = Iterator[tuple[AnyFrame, str]]  # a frame, and what to add to its line


def main(arguments: Sequence[str]) -> int:
    """Print frames until interrupted, or as many as asked for."""
    parser = argparse.ArgumentParser(prog="wattline tap", description=__doc__, epilog=COMMON_FLAGS)
    parser.add_argument(
        "topics", metavar="TOPIC", nargs="*", help=f"of {', '.join(FRAME_TYPES)} (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="each frame whole, as one line of JSON")
    parser.add_argument("--rows", action="store_true", help="each frame's tables below its line")
    parser.add_argument("--count", type=_count, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--last",
        action="store_true",
        help="only what the services published last, with its age and its publisher, then stop",
    )
    parser.add_argument("--run", help=argparse.SUPPRESS)  # named here only so that its value is no TOPIC
    parser.add_argument("--config", help=argparse.SUPPRESS)  # likewise
    parser.add_argument("--power.streams", dest="streams", help=argparse.SUPPRESS)  # likewise
    options, rest = parser.parse_known_args(arguments)
    wrong = set(options.topics) - set(FRAME_TYPES)
    if wrong:
        parser.error(f"no topic {', '.join(sorted(wrong))}; expected some of {', '.join(FRAME_TYPES)}")
    values = {"--run": options.run, "--config": options.config, "--power.streams": options.streams}
    for flag, value in values.items():
        rest += [] if value is None else [flag, value]
    settings, _warnings = load(CommonSettings, "tap", rest, os.environ)
    choice = choose(settings.run, is_given=is_given(settings.run), command="tap")
    topics = options.topics or list(FRAME_TYPES)
    reader = _Reader(choice, topics, settings.streams, as_root("tap", arguments, choice.run))
    shown = 0
    try:
        for frame, remarks in reader.last() if options.last else reader.live():
            print(_as_json(frame) if options.json else line(frame) + remarks, flush=True)
            if options.rows and not options.json:
                print("\n".join(rows(frame)), flush=True)
            shown += 1
            if shown == options.count:
                break
    except KeyboardInterrupt:
        return 0
    if options.last and not shown:
        what = f"no frame of {', '.join(topics)} in {choice.run}"
        print(f"wattline tap: {what}{_hint(choice)}", file=sys.stderr)
        return 1
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of frames above 0, got {text!r:.40}")
    return int(text)


class _Reader:
    """The frames of some topics in one run directory. Raises Fatal if none of their services may be read."""

    def __init__(self, choice: Choice, topics: Sequence[str], streams: PowerStreams, cure: str) -> None:
        self._choice = choice
        self._run = choice.run
        self._topics = topics
        self._streams = streams
        self._services = streams.producers_of(topics)
        self._cure = cure
        self._closed = self._require_rights()
        if self._closed:
            complaint = rights_to(self._run, self._services).complaint(self._run, cure)
            print(f"wattline tap: {complaint}; showing the others", file=sys.stderr)

    def last(self) -> _Shown:
        """What the services published last, each with a remark."""
        boot_id = this_boot_id()
        for service in self._services:
            directory = self._directory(service)
            frame = None if service in self._closed else read_last(directory)
            if frame is not None and frame.topic in self._topics and self._is_allowed(frame):
                publisher = lock_holder(directory.lock)
                now = {"mono_ns": time.monotonic_ns(), "unix_ns": time.time_ns()}
                yield frame, f" {remark(frame, publisher, boot_id=boot_id, **now)}"

    def live(self) -> _Shown:
        """Frames as they come, for ever."""
        if self._choice.instance is None and not self._is_served():
            print(
                f"wattline tap: nothing runs in {self._run}{_hint(self._choice)}; waiting for it to start",
                file=sys.stderr,
            )
        said = ""
        was_closed = False
        with Subscriber(self._run, self._topics, guard=of_this_boot(self._streams)) as subscriber:
            while True:
                subscriber.poll(_POLL_MS)
                for frame in subscriber.receive():
                    yield frame, ""
                subscriber.connect()
                # Twice in a row: `up` makes a directory first and gives it its group then.
                is_closed = bool(subscriber.distrusted) and self._is_closed()
                if is_closed and was_closed:
                    self._require_rights()
                was_closed = is_closed
                now = _troubles(subscriber, self._closed)
                if now != said:
                    said = now
                    print(f"{time.strftime('%H:%M:%S')} {now}", file=sys.stderr)

    def _directory(self, service: str) -> ServiceDirectory:
        return ServiceDirectory(self._run, service, self._streams.uid_of(service))

    def _is_allowed(self, frame: AnyFrame) -> bool:
        try:
            check_allowed(frame, self._streams)
        except FrameError as error:
            print(f"wattline tap: refused the last frame of {frame.producer}: {error}", file=sys.stderr)
            return False
        return True

    def _is_served(self) -> bool:
        """Whether some service publishes here, even if its process is in another container, out of sight."""
        now_ns = time.monotonic_ns()
        lasts = (read_last(self._directory(service)) for service in self._services)
        return any(last is not None and is_fresh(last, now_ns) for last in lasts)

    def _is_closed(self) -> bool:
        rights = rights_to(self._run, self._services)
        return bool(rights.closed) and not rights.readable

    def _require_rights(self) -> tuple[str, ...]:
        """The services that may not be read. Raises Fatal if no other is there."""
        rights = rights_to(self._run, self._services)
        if rights.closed and not rights.readable:
            raise Fatal(rights.complaint(self._run, self._cure), Fatal.PERMISSION)
        return rights.closed


def _hint(choice: Choice) -> str:
    return f"; {choice.hint}" if choice.hint else ""


def _troubles(subscriber: Subscriber, closed: Sequence[str]) -> str:
    parts = [f"lost {count} {stream}" for stream, count in subscriber.lost.items()]
    parts += [f"refused {count} ({reason})" for reason, count in subscriber.refused.items()]
    parts += [text for service, text in subscriber.distrusted.items() if service not in closed]
    return "; ".join(parts)


def _as_json(frame: AnyFrame) -> str:
    return msgspec.json.encode(frame, enc_hook=_column_as_list).decode()


def _column_as_list(value: object) -> object:
    if isinstance(value, Column):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)
