# SPDX-License-Identifier: Apache-2.0
"""Log lines: one line each whatever is in them, and no flood."""

import io
import json
import shlex
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wattline.log import Log


class FakeClock:
    def __init__(self, now_s=1_700_000_000.25):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


def printed(act, clock=None, **fields):
    """What a log prints while `act` writes to it."""
    stream = io.StringIO()
    act(Log("probe", stream=stream, now=clock or FakeClock(), **fields))
    return stream.getvalue()


def test_a_line_is_time_level_service_event_and_fields():
    """The shape of a line, with the time in UTC to the millisecond."""
    line = printed(lambda log: log.info("started", pid=7, cause="a b"))
    assert line == '2023-11-14T22:13:20.250Z INFO probe started pid=7 cause="a b"\n'


@given(st.text(st.characters()) | st.binary())
@example("a\nb")
@example("\x1b[2J\x07")
@example("\u2028\x85\v\f\r")
@example('he said "x=1"')
@example("\ud800")
@example("")
@example("\\")
def test_a_hostile_value_stays_on_its_line(value):
    """Whatever a stranger's name holds, it is one line of printable text with its fields."""
    text = printed(lambda log: log.warning("event", name=value, after=1))
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    text.encode()
    body = text.split(" event ", 1)[1]
    assert body.startswith("name=")
    assert body.endswith(" after=1\n")
    middle = body[len("name=") : -len(" after=1\n")]
    if middle.startswith('"'):
        assert isinstance(json.loads(middle), str)
    else:
        assert middle
        assert not set(' "=') & set(middle)


def test_a_value_with_quotes_can_be_read_back():
    """Quotes in a value are escaped, so that fields can't be forged."""
    text = printed(lambda log: log.info("event", name='x" admin="yes'))
    assert shlex.split(text)[-1] == 'name=x" admin="yes'


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels_below_the_set_one_are_not_printed(level, seen):
    """log-level is the least level that is printed."""

    def act(log):
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)(name)

    assert [line.split()[3] for line in printed(act, level=level).splitlines()] == seen


def test_a_repeated_warning_is_printed_once_a_minute_with_its_count():
    """The same event and cause is printed at once, then once a minute with how often it was held back."""
    clock = FakeClock(1000.0)

    def act(log):
        for second in range(121):
            clock.now_s = 1000.0 + second
            log.warning("retry", cause="busy")

    lines = printed(act, clock).splitlines()
    assert [line.split("retry ")[1] for line in lines] == [
        "cause=busy",
        "cause=busy repeated=59",
        "cause=busy repeated=59",
    ]


def test_warnings_with_other_causes_are_not_held_back():
    """What differs in event or cause is another warning."""

    def act(log):
        log.warning("retry", cause="busy")
        log.warning("retry", cause="gone")
        log.warning("distrusted", cause="busy")
        log.warning("retry", cause="busy")

    assert len(printed(act).splitlines()) == 3


def test_a_clock_set_back_does_not_silence_warnings():
    """When the wall clock jumps back by a day, warnings are printed as before."""
    clock = FakeClock(100_000.0)

    def act(log):
        log.warning("retry", cause="busy")
        clock.now_s -= 86_400
        log.warning("retry", cause="busy")
        log.warning("retry", cause="busy")

    assert len(printed(act, clock).splitlines()) == 2


def test_causes_without_end_take_no_memory_without_end():
    """A cause that is different each time, as with a stranger's name in it, is not remembered for ever."""
    log = Log("probe", stream=io.StringIO(), now=FakeClock())
    for number in range(5000):
        log.warning("retry", cause="constant")
        log.warning("retry", cause=f"process {number}")
    assert len(log._printed) < 1100
    assert log._printed["retry", "constant"][1] == 4999


class _BrokenStream(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, _text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed")])
def test_a_log_that_cannot_be_written_stops_nobody(error):
    """Neither a reader that has gone nor a full disk ends a service."""
    Log("probe", stream=_BrokenStream(error)).info("event")


def test_a_terminal_of_another_encoding_gets_the_line_too():
    """What the stream's encoding can't say is escaped, and the line is not lost."""
    done = subprocess.run(
        [sys.executable, "-c", "from wattline.log import Log; Log('probe').info('event', name='日本')"],
        env={"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.endswith(b"INFO probe event name=\\u65e5\\u672c\n")
