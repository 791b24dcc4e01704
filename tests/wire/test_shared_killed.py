# SPDX-License-Identifier: Apache-2.0
"""The two-slot file under a real writer at full speed, which is killed again and again."""

import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from wattline.wire.shared import Damaged, read

from . import fast_writer

_KILLS = 40
_PATIENCE_S = 20.0


@contextmanager
def writing(path):
    """A writer process, killed at the end without a chance to finish anything."""
    process = subprocess.Popen([sys.executable, fast_writer.__file__, str(path)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def number_at(path: Path) -> int:
    """Number of the newest whole payload, 0 if there is none yet."""
    try:
        return fast_writer.number_in(read(path))
    except FileNotFoundError:
        return 0


def wait_for_another(path: Path, number: int) -> int:
    deadline_s = time.monotonic() + _PATIENCE_S
    while (seen := number_at(path)) == number:
        assert time.monotonic() < deadline_s, "the writer writes nothing"
    return seen


def test_no_kill_leaves_a_torn_payload(run_directory):
    """Killed at 40 random moments, the writer always leaves a whole payload, not older than one seen."""
    path = run_directory / "last"
    chance = random.Random(20)
    number = 0
    for _ in range(_KILLS):
        with writing(path):
            seen = wait_for_another(path, number)
            time.sleep(chance.uniform(0, 0.004))
        number = number_at(path)
        assert number >= seen


def test_a_reader_beside_a_writer_at_full_speed_sees_no_torn_payload(run_directory):
    """While payloads of all lengths rush through both slots, each one read is whole."""
    path = run_directory / "last"
    numbers = set()
    attempts = damaged = 0
    with writing(path):
        wait_for_another(path, 0)
        deadline_s = time.monotonic() + 1.5
        while time.monotonic() < deadline_s:
            attempts += 1
            try:
                numbers.add(fast_writer.number_in(read(path)))
            except Damaged:
                damaged += 1
    assert len(numbers) > 100
    assert damaged <= attempts / 100
