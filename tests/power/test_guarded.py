# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong in one source stays with it."""

import pytest

from services.power.guarded import Guarded
from services.power.source import Former
from wattline.errors import Fatal, Retry
from wattline.wire.frames import UNREADABLE

from .fake_source import FakeSource, former_of, row
from .world import Clock, S


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(clock):
    return FakeSource(clock)


def guarded(source, former=None, rank=3):
    return Guarded(source.use(rank), former or Former(), source.clock.now_ns)


def read(one):
    clock = one.use.open.__self__.clock
    clock.advance(1)
    return one.read(clock.now_ns, clock.monotonic_ns)


def test_rows_have_the_rank_of_their_source(source):
    """The place in the order of preference."""
    assert [row.rank for row in read(guarded(source)).rows] == [3]


@pytest.mark.parametrize(
    "error", [KeyError("power"), RecursionError("deep"), Retry("busy"), ZeroDivisionError()]
)
def test_a_source_that_raises_keeps_its_rows(source, error):
    """It isn't up, its zones are absent, the error is counted with its place, and it is read again."""
    one = guarded(source)
    before = read(one).rows
    source.error = error
    readings = read(one)
    assert readings.rows == before
    assert [(zone.zone, zone.why) for zone in readings.absent] == [("package", UNREADABLE)]
    assert not readings.state.up
    assert readings.state.reason.startswith(f"unexpected {type(error).__name__}: ")
    assert readings.state.reason.endswith(")")
    assert "(at fake_source.py:" in readings.state.reason
    assert [note.event for note in readings.notes] == ["source_failed"]
    assert not readings.nothing_found
    source.error = None
    readings = read(one)
    assert readings.state.up
    assert readings.rows[0].mono_ns == source.clock.now_ns


def test_what_no_later_tick_can_mend_ends_the_service(source):
    """Fatal comes through, from a reading and from opening."""
    one = guarded(source)
    source.error = Fatal("no such file", Fatal.SETTINGS)
    with pytest.raises(Fatal):
        read(one)
    source.open_error = source.error
    with pytest.raises(Fatal):
        guarded(source)


def test_a_source_that_can_not_be_opened_is_opened_again(source):
    """Each ten seconds; until then it is not up, and keeps the former run's rows, so that they can go on."""
    source.open_error = AttributeError("no open_source")
    former = former_of([row(source.clock, energy_uj=7)])
    one = guarded(source, former)
    assert (one.zones, one.resumed) == (list(former.rows), True)
    readings = read(one)
    assert [row.energy_uj for row in readings.rows] == [7]
    assert readings.state.reason.startswith("can't be opened: unexpected AttributeError: no open_source")
    source.open_error = None
    for _second in range(8):
        assert not read(one).state.up
    assert read(one).state.up
    assert source.opened == [former]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mono_ns": 5000 * S},
        {"epoch": 2000 * S},
        {"energy_uj": -1},
        {"raw": 2**64},
        {"gaps": 2**32},
        {"source": "another"},
    ],
)
def test_a_row_that_would_spoil_the_frame_is_left_out(source, clock, wrong):
    """A time to come, a negative or too large figure, another source's name: said; the others stay."""
    source.is_silent = True
    one = guarded(source)
    source.rows = [row(clock, "dram"), row(clock, **wrong)]
    readings = read(one)
    assert [row.zone.name for row in readings.rows] == ["dram"]
    assert [note.event for note in readings.notes] == ["refused"]
    assert "row left out: expected" in readings.notes[0].cause


def test_closing_never_raises(source):
    """Nor does a new beginning: the source is then opened anew."""
    one = guarded(source)

    def fail():
        raise RuntimeError("stuck")

    source.close = source.begin_again = fail
    one.begin_again()
    one.close()
    assert not read(one).state.up
    for _second in range(10):
        readings = read(one)
    assert readings.state.up
