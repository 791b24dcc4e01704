# SPDX-License-Identifier: Apache-2.0
"""`wattline tap [TOPIC…]`: what the services say to each other, a line a frame."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from wattline.cli import COMMON_FLAGS
from wattline.settings import CommonSettings, load
from wattline.wire.bus import Subscriber, read_last
from wattline.wire.columns import Column
from wattline.wire.frames import FRAME_TYPES, AnyFrame
from wattline.wire.rundir import SERVICES, ServiceDirectory

from .frame_text import line, rows

_POLL_MS = 200


def main(arguments: Sequence[str]) -> int:
    """Print frames until interrupted, or as many as asked for."""
    parser = argparse.ArgumentParser(prog="wattline tap", description=__doc__, epilog=COMMON_FLAGS)
    parser.add_argument(
        "topics", metavar="TOPIC", nargs="*", help=f"of {', '.join(FRAME_TYPES)} (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="each frame whole, as one line of JSON")
    parser.add_argument("--rows", action="store_true", help="each frame's tables below its line")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--last", action="store_true", help="only what the services published last, then stop"
    )
    options, rest = parser.parse_known_args(arguments)
    wrong = set(options.topics) - set(FRAME_TYPES)
    if wrong:
        parser.error(f"no topic {', '.join(sorted(wrong))}; expected some of {', '.join(FRAME_TYPES)}")
    settings, _warnings = load(CommonSettings, "tap", rest, os.environ)
    topics = options.topics or list(FRAME_TYPES)
    frames = _last(settings.run, topics) if options.last else _live(settings.run, topics)
    shown = 0
    try:
        for frame in frames:
            print(_as_json(frame) if options.json else line(frame), flush=True)
            if options.rows and not options.json:
                print("\n".join(rows(frame)), flush=True)
            shown += 1
            if shown == options.count:
                break
    except KeyboardInterrupt:
        pass
    if options.last and not shown:
        print(f"no frames at {settings.run}", file=sys.stderr)
        return 1
    return 0


def _last(run: Path, topics: Sequence[str]) -> Iterator[AnyFrame]:
    for service in SERVICES:
        frame = read_last(ServiceDirectory(run, service))
        if frame is not None and frame.topic in topics:
            yield frame


def _live(run: Path, topics: Sequence[str]) -> Iterator[AnyFrame]:
    said = ""
    with Subscriber(run, topics) as subscriber:
        while True:
            subscriber.poll(_POLL_MS)
            yield from subscriber.receive()
            subscriber.connect()
            now = _troubles(subscriber)
            if now != said:
                said = now
                print(f"{time.strftime('%H:%M:%S')} {now}", file=sys.stderr)


def _troubles(subscriber: Subscriber) -> str:
    parts = [f"lost {count} {topic}" for topic, count in subscriber.lost.items()]
    parts += [f"refused {count} ({reason})" for reason, count in subscriber.refused.items()]
    parts += list(subscriber.distrusted.values())
    return "; ".join(parts)


def _as_json(frame: AnyFrame) -> str:
    return msgspec.json.encode(frame, enc_hook=_column_as_list).decode()


def _column_as_list(value: object) -> object:
    if isinstance(value, Column):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)
