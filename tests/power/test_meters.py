# SPDX-License-Identifier: Apache-2.0
"""All sources together: each is read, none disturbs another, and the estimate stands in for all of them."""

import pytest

from services.power.meters import SILENT_MAX, Meters
from services.power.source import Former
from services.power.sources import Way
from wattline.wire.frames import ZONES_MAX

from .fake_source import FakeSource, former_of, row
from .world import Clock, S, activity


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def one(clock):
    return FakeSource(clock, "one", ["package", "dram"])


@pytest.fixture
def two(clock):
    return FakeSource(clock, "two", ["package", "platform"])


@pytest.fixture
def model(clock):
    return FakeSource(clock, "model", ["package", "platform"], Way.ESTIMATE)


class Set:
    def __init__(self, *sources, former=None):
        self.clock = sources[0].clock
        uses = [source.use(rank) for rank, source in enumerate(sources)]
        self.meters = Meters(uses, former or Former(), self.clock.now_ns, self.clock.monotonic_ns)

    def tick(self, seconds=1.0):
        self.clock.advance(seconds)
        return self.meters.read(self.clock.now_ns)


def sources_of(tick):
    return [(row.zone.source, row.zone.name) for row in tick.rows]


def states(tick):
    return {state.name: state.up for state in tick.states}


def events(tick):
    return [note.event for note in tick.notes]


def test_all_meters_are_read_and_ranked(one, two, model):
    """Every row of every meter is in the frame, also of zones that several have; nothing is estimated."""
    tick = Set(one, two, model).tick()
    assert sources_of(tick) == [("one", "package"), ("one", "dram"), ("two", "package"), ("two", "platform")]
    assert [row.rank for row in tick.rows] == [0, 0, 1, 1]
    assert states(tick) == {"one": True, "two": True}
    assert model.opened == []
    assert tick.has_new


def test_one_that_raises_leaves_the_others_alone(one, two, model):
    """Its rows stay with their old time; the other's go on."""
    both = Set(one, two, model)
    before = both.tick()
    one.error = TypeError("odd")
    tick = both.tick()
    assert sources_of(tick) == sources_of(before)
    assert tick.rows[:2] == before.rows[:2]
    assert tick.rows[2].mono_ns == both.clock.now_ns
    assert states(tick) == {"one": False, "two": True}
    assert "source_failed" in events(tick)


def test_what_this_machine_lacks_is_not_shown(one, two, model):
    """Unless it is asked for by name: then it is not up, with its reason."""
    two.is_missing = True
    assert states(Set(one, two, model).tick()) == {"one": True}
    two.is_named = True
    tick = Set(one, two, model).tick()
    assert states(tick) == {"one": True, "two": False}
    assert tick.states[1].reason == "not here"


def test_why_a_source_has_no_zone_is_logged_once(one, two):
    """Also without an estimate; where other meters have zones, only of a source that is named."""
    one.is_missing = two.is_missing = two.is_named = True
    alone = Set(two)
    notes = [note for _second in range(5) for note in alone.tick().notes]
    assert [(note.event, note.fields["source"], note.cause) for note in notes] == [
        ("source_not_used", "two", "not here")
    ]
    one.is_missing = False
    assert events(Set(one, two).tick()) == ["source_not_used"]
    two.is_named = False
    assert events(Set(one, two).tick()) == []


def test_a_reason_that_a_note_has_said_is_not_logged_again(two):
    """A source that failed has said why itself; nor is it when its notes end, as a worker's do."""
    two.is_named, two.open_error = True, OSError("broken")
    alone = Set(two)
    assert [event for _second in range(3) for event in events(alone.tick())] == ["source_failed"] * 3


def test_a_source_that_loses_its_zones_is_logged_again(two):
    """The reason is logged anew after each time with zones."""
    two.is_named = True
    alone = Set(two)
    assert "source_not_used" not in events(alone.tick())
    for _time in range(2):
        two.is_missing = True
        assert [events(alone.tick()).count("source_not_used") for _second in range(3)] == [1, 0, 0]
        two.is_missing = False
        assert "source_not_used" not in events(alone.tick())


def test_the_estimate_is_there_at_once_where_no_meter_is(one, two, model):
    """It is given the former run's rows, and activity; the meters are looked at all the while."""
    one.is_missing = two.is_missing = True
    former = former_of([row(one.clock, source="model", provenance="estimated")])
    both = Set(one, two, model, former=former)
    assert model.opened == [former]
    assert both.meters.resumed
    assert both.meters.follows_activity
    both.meters.on_activity(activity(both.clock.now_ns, [S]))
    assert model.calls[-1] == "on_activity"
    assert "on_activity" not in one.calls
    assert {source for source, _zone in sources_of(both.tick())} == {"model"}
    assert one.calls.count("read") == 1


def test_the_estimate_takes_over_when_all_are_silent(one, two, model):
    """Not while one meter has something new; then after five readings, with the meters' series ended."""
    both = Set(one, two, model)
    both.tick()
    one.is_silent = True
    for _second in range(3 * SILENT_MAX):
        assert {source for source, _zone in sources_of(both.tick())} == {"one", "two"}
    two.is_silent = True
    last_ns = both.clock.now_ns
    for _second in range(SILENT_MAX):
        tick = both.tick()
        assert {source for source, _zone in sources_of(tick)} == {"one", "two"}
        assert not tick.has_new
    assert "source_silent" in events(tick)
    assert model.opened == [Former(until_ns=last_ns)]
    tick = both.tick()
    assert {source for source, _zone in sources_of(tick)} == {"model"}
    assert one.calls.count("begin_again") == two.calls.count("begin_again") == 1


def test_a_meter_that_returns_ends_the_estimate(one, two, model):
    """At once, in an epoch after the estimate's last row."""
    one.is_silent = two.is_silent = True
    both = Set(one, two, model)
    estimated = both.tick()
    two.is_silent = False
    tick = both.tick()
    assert {source for source, _zone in sources_of(tick)} == {"two"}
    assert min(row.epoch for row in tick.rows) > max(row.mono_ns for row in estimated.rows)
    assert "close" in model.calls
    assert "source" in events(tick)
    assert not both.meters.follows_activity


def test_the_estimate_begins_after_the_newest_row_there_ever_was(one, two, model):
    """Also where the zones of that row have gone, and what is left is older."""
    two.lag_ns = 20 * S
    both = Set(one, two, model)
    both.tick()
    last_ns = both.clock.now_ns
    one.is_missing, two.is_silent = True, True
    for _second in range(SILENT_MAX + 1):
        both.tick()
    assert model.opened == [Former(until_ns=last_ns)]


def test_a_worker_s_first_rows_are_logged(one, two, model):
    """It has none at the start, where the log names the zones of the others."""
    two.way, two.is_missing = Way.WORKER, True
    both = Set(one, two, model)
    assert "source" not in events(both.tick())
    two.is_missing = False
    (note,) = (note for note in both.tick().notes if note.event == "source")
    assert note.fields == {"source": "two", "zones": "package 0, platform 0"}
    assert "source" not in events(both.tick())


def test_a_worker_s_former_rows_are_no_news(one, model, clock):
    """Rows of the former run, which are repeated until there is an answer, are not logged as found."""
    one.way = Way.WORKER
    both = Set(one, model, former=former_of([row(clock, epoch=1, mono_ns=2)]))
    one.is_silent = True
    assert "source" not in events(both.tick())


def test_a_slow_meter_is_waited_for(one, two, model):
    """One that is renewed each 30 s isn't silent between its readings, only after five periods."""
    one.is_missing = True
    two.period_ns = 30 * S
    both = Set(one, two, model)
    both.tick()
    two.is_silent = True
    for _second in range(5 * 30 + SILENT_MAX - 2):
        assert {source for source, _zone in sources_of(both.tick())} == {"two"}
    assert model.opened == []
    both.tick()
    both.tick()
    assert len(model.opened) == 1


def test_a_stage_waits_for_its_slow_meter_without_being_stuck(one, two):
    """Health goes by new content: between two readings of a BMC there is none, for three of its periods."""
    one.is_missing = True
    two.period_ns = 30 * S
    both = Set(one, two)
    assert both.tick().has_new
    two.is_silent = True
    for _second in range(3 * 30 - 1):
        tick = both.tick()
        assert (tick.has_new, tick.is_waiting) == (False, True)
    assert not both.tick().is_waiting


def test_a_late_meter_covers_no_time_of_the_estimate(one, two, model):
    """A reading 20 s old comes while energy is estimated: its series begins after the estimate's end."""
    one.is_missing = two.is_missing = True
    both = Set(one, two, model)
    for _second in range(30):
        estimated = both.tick()
    two.is_missing, two.lag_ns, two.period_ns = False, 20 * S, S
    seen = [both.tick() for _second in range(40)]
    assert "model" not in {source for tick in seen for source, _zone in sources_of(tick)}
    rows = [row for tick in seen for row in tick.rows]
    assert rows
    assert min(row.epoch for row in rows) >= max(row.mono_ns for row in estimated.rows)


def test_without_an_estimate_there_is_a_heartbeat(one):
    """A power process with a BMC alone estimates nothing."""
    one.is_silent = True
    alone = Set(one)
    for _second in range(2 * SILENT_MAX):
        tick = alone.tick()
    assert tick.rows == []
    assert states(tick) == {"one": False}


def test_rows_of_a_former_run_go_to_their_source(one, two, model):
    """Those of a source that is no longer in use are dropped."""
    clock = one.clock
    one.is_silent = True
    former = former_of([row(clock, energy_uj=5), row(clock, source="gone")])
    both = Set(one, two, model, former=former)
    assert both.meters.resumed
    assert one.opened == [former]
    assert sources_of(both.tick()) == [("one", "package"), ("two", "package"), ("two", "platform")]


def test_no_more_rows_than_a_frame_may_have(one, two, model):
    """The least preferred ones are left out, always the same, and said."""
    one.zone_names = [f"zone{number}" for number in range(ZONES_MAX - 1)]
    both = Set(two, one, model)
    first, second = both.tick(), both.tick()
    assert len(first.rows) == ZONES_MAX
    assert sources_of(first)[:2] == [("two", "package"), ("two", "platform")]
    assert sources_of(first) == sources_of(second)
    assert "zones_left_out" in events(first)


def test_derived_rows_are_made_of_the_same_tick(one, two, clock):
    """Wherever it stands in the order, such a source gets all rows that meters have just given."""
    seen = []
    one.way = Way.ROWS
    one.on_rows = lambda rows: seen.append([row.zone.source for row in rows])
    FakeSource.on_rows = lambda self, rows: self.on_rows(rows)
    try:
        tick = Set(one, two).tick()
    finally:
        del FakeSource.on_rows
    assert seen == [["two", "two"]]
    assert {row.mono_ns for row in tick.rows} == {clock.now_ns}


def test_everything_is_closed(one, two, model):
    """Also the estimate, if it is open."""
    one.is_missing = two.is_missing = True
    Set(one, two, model).meters.close()
    assert all(source.calls[-1] == "close" for source in (one, two, model))
