# SPDX-License-Identifier: Apache-2.0
"""Children that end, in every way and at every time: which end all, and which are started again."""

import signal
import sys

import pytest

from wattline.cli import supervise
from wattline.cli.supervise import Child, Supervisor


@pytest.fixture
def supervised():
    """Make a Supervisor of one child that runs some code; its lines are kept."""
    made, lines = [], []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def make(code):
        child = Child("child", [sys.executable, "-c", code])
        made.append(Supervisor([child], lambda name, line: lines.append(f"{name}: {line}")))
        return made[-1], lines

    yield make
    for supervisor in made:
        supervisor.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


# Once the marker is there, it ends at once with a code.
_LATER = "import os, sys, time\nif os.path.exists({0!r}): sys.exit({1})\nopen({0!r}, 'w'); sys.exit(3)"


@pytest.mark.parametrize("code", [77, 78, 2])
def test_a_child_that_cannot_start_ends_all(supervised, code):
    """At its first start such a code means a setting or a right that a person has to change."""
    supervisor, lines = supervised(f"import sys; print('why'); sys.exit({code})")
    supervisor.start("child")
    assert supervisor.watch(lambda: False) == code
    assert lines == [
        "child: why",
        f"up: child ended with exit code {code}, its last line says why; stopping all",
    ]


@pytest.mark.parametrize("code", [77, 78, 2])
def test_a_child_that_fails_later_is_started_again(supervised, tmp_path, code):
    """It has worked before: with growing pauses, it is given every chance."""
    supervisor, lines = supervised(_LATER.format(str(tmp_path / "marker"), code))
    supervisor.start("child")
    restarts = f"up: child ended with exit code {code}; restarting in "
    assert supervisor.watch(lambda: sum(line.startswith(restarts) for line in lines) == 2) is None
    assert lines == [
        "up: child ended with exit code 3; restarting in 0.5 s",
        f"{restarts}1 s",
        f"{restarts}2 s",
    ]


def test_a_first_run_that_lasted_is_a_start_that_worked(supervised, monkeypatch):
    """A child that ran for a while and then ends with 77 is started again, too."""
    monkeypatch.setattr(supervise, "_STARTING_S", 0.0)
    supervisor, lines = supervised("import sys; sys.exit(77)")
    supervisor.start("child")
    assert supervisor.watch(lambda: bool(lines)) is None
    assert lines == ["up: child ended with exit code 77; restarting in 0.5 s"]


def test_a_line_without_an_end_is_cut(supervised):
    """A child that never writes a newline can't fill our memory, and every byte of it is printed."""
    supervisor, lines = supervised("import time; print('x' * 1_000_000, end='', flush=True); time.sleep(60)")
    supervisor.start("child")

    def is_printed():
        return sum(line.count("x") for line in lines) > 900_000

    assert supervisor.watch(is_printed) is None
    assert max(map(len, lines)) < 200_000
    child = supervisor._children[0]
    assert len(child.output) <= supervise._LINE_BYTES_MAX
