# SPDX-License-Identifier: Apache-2.0
"""Recordings of a machine on paper, and the commands as a user types them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.calculator.world import World
from wattline.wire.codec import encode
from wattline.wire.recording import RecordingReader, RecordingWriter

ROOT = Path(__file__).parents[2]


def seconds(count: int):
    """The frames of some seconds: processes that come and go, containers and the host, two zones."""
    world = World()
    for second in range(count):
        short_lived = (4 + 2 * (second // 600 % 3), 20 + second // 60, second)
        world.run(1, {(2, 10, 5): 0.3, short_lived: 0.1 * (second % 5), (3, 7, 1): 0.05})
        yield world.activity()
        yield world.metadata((2, 3, 4, 6, 8))
        yield world.power(("package", "dram"))
        world.end(short_lived)


def make(path: Path, count: int) -> Path:
    """A recording of some seconds; path."""
    with RecordingWriter(path) as writer:
        for frame in seconds(count):
            writer.write(encode(frame))
    return path


def payloads(path: Path) -> list[bytes]:
    with RecordingReader(path) as reader:
        return list(reader)


def environment(**settings: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
    return others | {f"WATTLINE_{name.upper()}": value for name, value in settings.items()}


def started(*arguments: object, **settings: str) -> subprocess.Popen[str]:
    """A running `wattline`, in whose output and errors are apart."""
    return subprocess.Popen(
        [sys.executable, "-m", "wattline.cli", *map(str, arguments)],
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wattline(*arguments: object, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """A `wattline` that has ended."""
    with started(*arguments, **settings) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
