# SPDX-License-Identifier: Apache-2.0
"""A source that may block is read by one thread of its own; the loop never waits for it."""

import threading
import time
from dataclasses import replace

import pytest

from services.power.source import Former, Note
from services.power.worker import Worker
from wattline.errors import Fatal
from wattline.wire.frames import UNREADABLE

from .fake_source import former_of
from .slow_source import NAME, SlowSource, good, row
from .world import Clock, S

MS = 1_000_000


@pytest.fixture
def source():
    return SlowSource()


@pytest.fixture
def start(source):
    """Starts workers; at the end, lets a call that is still under way return, and waits for the thread."""
    started = []

    def start(former=None, period_ns=MS):
        worker = Worker(NAME, source.open, former or Former(), period_ns)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.ask_to_stop()
        for _call in range(3):
            source.let_last(good())
        if worker._thread.ident is not None:
            worker._thread.join(10)
            assert not worker._thread.is_alive()


def now():
    return time.monotonic_ns()


def begun(worker, source):
    """The worker, opened, with its first reading under way."""
    worker.read(now())
    source.entered()
    source.let(None)
    return worker


def test_readings_are_repeated_until_there_are_newer_ones(start, source):
    """With their own time, and the period of the source; notes come once."""
    worker = begun(start(period_ns=7 * MS), source)
    source.let(good(row(3, notes_at := 5), notes=[Note("gap", "why")]))
    first, second = worker.read(now()), worker.read(now())
    assert first.rows == second.rows == [row(3, notes_at, period_ns=7 * MS)]
    assert first.state.up
    assert ([note.event for note in first.notes], list(second.notes)) == (["gap"], [])
    assert worker.zones == [row().zone]
    source.let(good(row(9, 6, period_ns=20 * MS)))
    assert worker.read(now()).rows == [row(9, 6, period_ns=20 * MS)]


def test_nothing_waits_for_a_call(start, source):
    """Before the first answer there is no row, and the source isn't shown; the call goes on meanwhile."""
    worker = begun(start(), source)
    readings = worker.read(now())
    assert (readings.rows, readings.state.up, readings.state.reason) == ([], False, "no answer yet")
    assert readings.nothing_found


def test_a_call_that_hangs_is_said_and_recovered_from(start, source):
    """After the deadline the source is not up, its rows are kept and absent; an answer ends that."""
    worker = begun(start(), source)
    source.let(good(row(3)))
    assert worker.read(now()).state.up
    readings = worker.read(now() + 3 * S)
    assert not readings.state.up
    assert readings.state.reason == "no answer for 2 s or longer; read again once there is one"
    assert [one.energy_uj for one in readings.rows] == [3]
    assert [(one.zone, one.why) for one in readings.absent] == [("platform", UNREADABLE)]
    assert [note.event for note in readings.notes] == ["no_answer"]
    assert worker.read(now() + 9 * S).state == readings.state  # a reason that stays the same
    source.let(good(row(8, 6)))
    readings = worker.read(now())
    assert readings.state.up
    assert [one.energy_uj for one in readings.rows] == [8]


def test_there_is_one_thread_whatever_fails(start, source):
    """Opening and reading are tried again by the same one, once per period."""
    before = threading.active_count()
    worker = start()
    worker.read(now())
    source.entered()
    for number in range(5):
        source.let(ConnectionRefusedError(111, "Connection refused"))
        readings = worker.read(now() + number)
        assert readings.state.reason.endswith("Connection refused")
        assert threading.active_count() == before + 1
    source.let(None)
    for _number in range(5):
        source.let(KeyError("Power"))
    readings = worker.read(now())
    assert readings.state.reason == "unexpected KeyError: 'Power'"
    assert not readings.nothing_found
    assert {note.event for note in readings.notes} == {"source_failed"}
    assert len(source.threads) == 1
    assert source.calls == ["open"] * 6 + ["read"] * 6
    source.let(good(row(1)))
    assert worker.read(now()).state.up


def test_rows_stay_while_readings_fail(start, source):
    """They are absent, with the error; a later reading ends that."""
    worker = begun(start(), source)
    source.let(good(row(3)))
    source.let(OSError(5, "Input/output error"))
    readings = worker.read(now())
    assert [one.energy_uj for one in readings.rows] == [3]
    assert len(readings.absent) == 1


def test_readings_come_once_per_period(start, source, monkeypatch):
    """From begin to begin, whatever a call takes; periods that a call has overrun are left out."""
    clock, waits = Clock(), []
    monkeypatch.setattr("services.power.worker.time", clock)
    worker = start(period_ns=10 * S)
    monkeypatch.setattr(worker._stop, "wait", waits.append)
    worker.read(clock.now_ns)
    source.entered()
    for took_s in (3, 0, 25):
        clock.advance(took_s)
        source.let(ConnectionRefusedError(111, "Connection refused"))
        clock.advance(waits[-1])
    assert waits == [7.0, 10.0, 5.0]


def test_a_meter_that_this_machine_lacks_is_looked_for_seldom(start, source, monkeypatch):
    """A thread that wakes up at each tick for nothing would cost every machine something."""
    clock, waits = Clock(), []
    monkeypatch.setattr("services.power.worker.time", clock)
    worker = start(period_ns=1 * S)
    monkeypatch.setattr(worker._stop, "wait", waits.append)
    worker.read(clock.now_ns)
    source.entered()
    source.let(source)
    for nothing_found in (True, False):
        source.let(replace(good(), nothing_found=nothing_found))
        clock.advance(waits[-1])
    assert waits == [10.0, 1.0]


def test_a_wrong_setting_ends_the_service(start, source):
    """What no later try can mend comes through to the loop."""
    worker = start()
    worker.read(now())
    source.entered()
    source.let(Fatal("no such password file", Fatal.SETTINGS))
    with pytest.raises(Fatal, match="no such password file"):
        worker.read(now())


def test_a_former_run_s_rows_wait_for_the_first_answer(start, source):
    """They stay in the frames, so that a kill before that loses nothing; the source gets them too."""
    former = former_of([row(3, 5)])
    worker = start(former)
    assert (worker.resumed, worker.zones) == (True, [row().zone])
    readings = worker.read(now())
    assert [one.energy_uj for one in readings.rows] == [3]
    assert not readings.nothing_found
    source.entered()
    assert source.formers == [former]


def test_a_new_beginning_drops_what_was_under_way(start, source):
    """The answer to a call that began before is of the series that has ended."""
    worker = begun(start(), source)
    source.let(good(row(3)))
    worker.begin_again()
    assert (worker.read(now()).rows, worker.zones) == ([], [])
    source.let(good(row(4, 6)))
    assert worker.read(now()).rows == []
    assert source.calls[-2:] == ["begin_again", "read"]
    source.let(good(row(0, 7)))
    assert [one.mono_ns for one in worker.read(now()).rows] == [7]


def test_a_new_beginning_before_the_first_call_costs_no_answer(start, source):
    """The source is then opened without the former run's rows."""
    worker = start(former_of([row(3)]))
    worker.begin_again()
    begun(worker, source)
    assert source.formers == [Former()]
    source.let(good(row(1)))
    assert len(worker.read(now()).rows) == 1
    assert "begin_again" not in source.calls


def test_closing_lets_a_source_end_its_session(start, source):
    """A call that is under way may end first; then the source is closed in its own thread."""
    worker = begun(start(), source)
    worker.ask_to_stop()
    source.let(good(row(3)))
    source.let_last(None)
    worker.close()
    assert source.calls[-1] == "close"
    assert not worker._thread.is_alive()
    assert len(source.threads) == 1


def test_closing_waits_for_no_call_that_hangs(start, source, monkeypatch):
    """Past the deadline not at all, before it a second at most: the process ends in time."""
    joined = []
    worker = begun(start(), source)
    monkeypatch.setattr(worker._thread, "join", joined.append)
    worker._called_ns = now() - 3 * S
    worker.close()
    assert joined == []
    worker._called_ns = now()
    worker.close()
    assert 0 < joined[0] <= 1.0
    monkeypatch.undo()


def test_closing_interrupts_a_call_where_the_source_can(start, source):
    """A session at a BMC is ended also while a request hangs, from the loop's thread."""
    interrupted = []
    source.interrupt = lambda: interrupted.append(threading.get_ident())
    worker = begun(start(), source)
    worker._called_ns = now() - 3 * S
    worker.close()
    assert interrupted == [threading.get_ident()]


def test_one_that_was_never_read_is_closed(start, source):
    """No thread has begun, and none does any more."""
    worker = start()
    worker.close()
    worker.read(now())
    assert source.calls == []
