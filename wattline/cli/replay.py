# SPDX-License-Identifier: Apache-2.0
"""`wattline replay FILE`: run the calculator and the exporter on a recording, apart from all that runs here.

The same recording gives the same books, byte for byte.
"""

import argparse
import http.client
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from wattline.clock import SPEED_PATTERN, Pace
from wattline.errors import Fatal
from wattline.power_streams import PowerStreams
from wattline.settings import CommonSettings, load
from wattline.temporary import REPLAY_PREFIX
from wattline.wire.bus import read_last
from wattline.wire.frames import AnyFrame
from wattline.wire.order import stream_name
from wattline.wire.recorded import RecordedFrames
from wattline.wire.rundir import ServiceDirectory, prepare_run

from .canonical_metrics import canonical
from .record import TOPICS
from .replay_streams import ReplayStreams
from .started import Started, say

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 what is made there is private
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SCRAPE_S = 30.0
_SCRAPE_POLL_S = 0.1
_SLEEP_MAX_S = 0.5  # how often to look whether the calculator still runs
_LAST_FRAME = 'wattline_stage_last_frame_timestamp_seconds{{stage="{stage}",topic="{topic}"}}'


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 after all of the recording; 1 if it was cut short or fails, or the calculator's own."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if re.fullmatch(SPEED_PATTERN, options.speed) is None:
        parser.error(
            f"--speed: expected how many times as fast as it was recorded, 0 or max for as fast as possible, "
            f"got {options.speed!r:.40}"
        )
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            return _replayed(options, rest, stack)
        finally:
            for number in _STOP_SIGNALS:  # a second Ctrl-C must not keep us from cleaning up
                signal.signal(number, signal.SIG_IGN)


def _replayed(options: argparse.Namespace, calculator_flags: Sequence[str], stack: ExitStack) -> int:
    # Before anything is started: whether there is something to be replayed, and somewhere to write.
    streams = _streams(options)
    with RecordedFrames(options.file, TOPICS, streams) as frames:
        say(f"replaying {options.file} of node {frames.first.node}")
    out = stack.enter_context(_opened(options.metrics)) if options.metrics else None
    run = stack.enter_context(_run_directory(options.run))
    replay = _Replay(options, streams, calculator_flags, run, stack)
    try:
        exporter = replay.run()
        if out is not None:
            _write(out, replay.metrics(exporter).encode(), options.metrics)
            return 0
    except KeyboardInterrupt:
        say("wattline replay: interrupted before the end of the recording")
        return Fatal.FAILED
    try:
        exporter.wait()
    except KeyboardInterrupt:
        return 0
    return Fatal.FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattline replay",
        description=__doc__,
        epilog="Other flags after FILE are the calculator's, as --idle-policy=even.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="as `wattline record` makes it")
    parser.add_argument(
        "--speed", metavar="X", default="max", help="times as fast as it was recorded (default: max)"
    )
    parser.add_argument(
        "--run", metavar="DIR", type=Path, help="keep what the services make there, in a new directory"
    )
    parser.add_argument(
        "--metrics",
        metavar="OUT",
        help="write the metrics that follow from the frames to a file (-: to stdout)",
    )
    parser.add_argument(
        "--web.listen-address",
        dest="address",
        metavar="HOST:PORT",
        default="127.0.0.1:0",
        help="where the exporter listens (default: any free port of this machine itself)",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings of the services")
    parser.add_argument(
        "--power.streams",
        dest="power_streams",
        metavar="VALUE",
        help="the power streams of the recording that count (default: all)",
    )
    return parser


def _streams(options: argparse.Namespace) -> PowerStreams | None:
    """The power streams to replay, as the calculator's own setting has them; None for all."""
    flags = ["--config", options.config] if options.config else []
    flags += ["--power.streams", options.power_streams] if options.power_streams is not None else []
    settings, _warnings = load(CommonSettings, "replay", flags, os.environ, borrowed_table="calculator")
    return settings.streams if settings.power_streams else None


class _Replay:
    """One replay: the services it needs, ended with the stack."""

    def __init__(
        self,
        options: argparse.Namespace,
        streams: PowerStreams | None,
        calculator_flags: Sequence[str],
        run: Path,
        stack: ExitStack,
    ) -> None:
        self._file: Path = options.file
        self._speed: str = options.speed
        self._address: str = "127.0.0.1:0" if options.metrics else options.address
        self._run = run
        self._stack = stack
        self._recorded: dict[str, AnyFrame] = {}  # the last frame by name of its stream
        self._power_streams = streams
        self._streams = stack.enter_context(ReplayStreams(run))
        # It reads what belongs to whoever typed the command, so it stays that user.
        self._common = ["--run", str(run), "--user="]
        if options.config:
            self._common += ["--config", options.config]
        if options.power_streams is not None:
            self._common += ["--power.streams", options.power_streams]
        self._calculator_flags = calculator_flags

    def run(self) -> Started:
        """The whole recording; then the exporter, which goes on serving."""
        paced = Pace.of(self._speed)
        speed = ["--replay", str(self._file.absolute()), "--replay-speed", self._speed]
        flags = [*self._common, *speed, *self._calculator_flags]
        calculator = self._stack.enter_context(Started("calculator", flags))
        exporter = self._exporter() if paced.speed_ratio else None
        with RecordedFrames(self._file, TOPICS, self._power_streams) as frames:
            for frame in frames:
                self._recorded[stream_name(frame)] = frame
                if paced.speed_ratio:
                    _sleep_until_due(paced, frame, calculator)
                    self._streams.publish(frame)
            torn = frames.torn
        calculator.wait()
        if torn:
            say(f"wattline replay: {torn}")
        if exporter is None:
            for frame in self._recorded.values():
                self._streams.publish(frame)
            exporter = self._exporter()
        return exporter

    def metrics(self, exporter: Started) -> str:
        """What follows from the frames, at their end."""
        if read_last(ServiceDirectory(self._run, "calculator")) is None:
            raise Fatal(
                f"{self._file} gave no energy: expected at least some seconds of activity and power, got "
                f"{', '.join(sorted(self._recorded))}"
            )
        if Pace.of(self._speed).speed_ratio:
            # One that listened all the time may have missed a frame, a new one starts from the last ones.
            exporter.stop()
            exporter = self._exporter()
        wanted = [_LAST_FRAME.format(stage="calculator", topic="energy")]
        if "metadata" in self._recorded:
            wanted.append(_LAST_FRAME.format(stage=self._recorded["metadata"].producer, topic="metadata"))
        deadline_s = time.monotonic() + _SCRAPE_S
        address = exporter.address()
        while time.monotonic() < deadline_s:
            text = _scrape(address)
            if all(series in text for series in wanted):
                return canonical(text)
            time.sleep(_SCRAPE_POLL_S)
        raise Fatal(f"the exporter did not show the last frames within {_SCRAPE_S:.0f} s; its log is above")

    def _exporter(self) -> Started:
        flags = [*self._common, "--clock", "frames", "--web.listen-address", self._address]
        exporter = self._stack.enter_context(Started("exporter", flags))
        say(f"metrics of the replay: http://{exporter.address()}/metrics")
        return exporter


def _sleep_until_due(pace: Pace, frame: AnyFrame, calculator: Started) -> None:
    while wait_ns := pace.wait_ns(frame.mono_ns, time.monotonic_ns()):
        if not calculator.running:
            calculator.wait()  # raises if it failed; else it was a little ahead of us
        time.sleep(min(wait_ns / 1e9, _SLEEP_MAX_S))


@contextmanager
def _run_directory(asked_for: Path | None) -> Iterator[Path]:
    """The directory asked for, which must be new; else a private one that is removed at the end."""
    if asked_for is not None:
        prepare_run(asked_for)
        if there := sorted(path.name for path in asked_for.iterdir()):
            raise Fatal(
                f"--run {asked_for}: expected a new or empty directory, for a replay begins without the "
                f"state of another run; got one with {', '.join(there[:5])}",
                Fatal.USAGE,
            )
        yield asked_for
        return
    path = Path(tempfile.mkdtemp(prefix=f"{REPLAY_PREFIX}{os.getpid()}-", dir=_SHARED_MEMORY))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # Private, as the recording is: it has the same names in it.
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Fatal(f"--metrics {name}: {error.strerror}; expected a file that can be written") from None
    with os.fdopen(descriptor, "wb") as out:
        yield out


def _write(out: BinaryIO, data: bytes, name: str) -> None:
    """Write all of it now, while an error can still be told."""
    try:
        out.write(data)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still in the buffer must not fail once more when it is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), out.fileno())
        raise Fatal(f"--metrics {name}: {error.strerror}; the metrics are not whole") from None


def _scrape(address: str) -> str:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_SCRAPE_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
