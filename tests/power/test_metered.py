# SPDX-License-Identifier: Apache-2.0
"""A source made of channels: laws, gaps, restarts, failures, zones that come and go."""

import errno
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power import book
from services.power.channel import Kind, sampled
from services.power.metered import LOOK_NS
from services.power.source import Absent, Level
from wattline.wire.frames import UNREADABLE, ZONES_MAX

from .meter import NAME, Meter, former_of, zone
from .world import Clock, S

J = W = 1_000_000
GAUGE, COUNTER = Kind.GAUGE, Kind.COUNTER


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(book, "time", clock)
    return clock


@pytest.fixture
def meter(clock) -> Meter:
    return Meter(clock)


def tick(source, clock, seconds=1.0):
    clock.advance(seconds)
    return source.read(clock.now_ns)


def only(readings):
    (row,) = readings.rows
    return row


def events(readings):
    return [note.event for note in readings.notes]


@given(
    st.sampled_from([(COUNTER, 0), (COUNTER, 500_000 * J), (GAUGE, 0)]),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 450)), min_size=1, max_size=20),
    st.sets(st.integers(0, 19)),
    st.sets(st.integers(0, 19)),
)
def test_each_kind_follows_its_law(kind_and_range, course, failing, restarts):
    """Over failures and restarts that can be bridged, no microjoule more or less, for all three kinds."""
    (kind, range_uj), clock = kind_and_range, Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "time", clock)
        meter = Meter(clock)
        begun_uj = range_uj - 5 * J if range_uj else 7 * J
        shown = meter.show(
            0 if kind is GAUGE else begun_uj, kind=kind, range_uj=range_uj, bridge_ns=10**6 * S
        )
        source = meter.source()
        row = only(source.read(clock.now_ns))
        flowed_uj = unread_s = power_w = 0
        for place, (seconds, watts) in enumerate(course):
            if place in restarts:
                source = meter.source(former_of([row]))
            unread_s += seconds
            is_failing = place in failing
            shown.error = OSError(errno.EIO, os.strerror(errno.EIO)) if is_failing else None
            if kind is COUNTER:
                flowed_uj += watts * seconds * J
                counted_uj = begun_uj + flowed_uj
                shown.value = counted_uj % range_uj if range_uj else counted_uj
            elif not is_failing:
                flowed_uj += (power_w + watts) * unread_s * J // 2
                shown.value, power_w = watts * W, watts
            row = only(tick(source, clock, seconds))
            if not is_failing:
                assert (row.energy_uj, row.gaps) == (flowed_uj, 0)
                unread_s = 0


def test_the_first_reading_is_no_energy(meter, clock):
    """A counter that has run for a year starts at 0 here, in an epoch at or before its first reading."""
    meter.show(123_456 * J)
    row = only(meter.source().read(clock.now_ns))
    assert (row.energy_uj, row.epoch, row.gaps) == (0, clock.now_ns, 0)


def test_a_counter_goes_on_after_a_restart(meter, clock):
    """Same epoch, and the energy of the pause."""
    shown = meter.show(99_970 * J, range_uj=100_000 * J)
    source = meter.source()
    shown.value = 99_990 * J
    before = only(tick(source, clock))
    shown.value = 5 * J  # it wrapped
    again = meter.source(former_of([before]))
    assert again.resumed
    assert again.zones == [zone()]
    after = only(tick(again, clock))
    assert (after.epoch, after.gaps) == (before.epoch, 0)
    assert after.energy_uj == 20 * J + 15 * J


def test_a_counter_that_may_have_wrapped_twice_is_a_gap(meter, clock):
    """Range ÷ greatest power is how long it may go unread; a stop explains it, so that is no error."""
    meter.show(10 * J, range_uj=100_000 * J)  # 100 s at 1 kW
    before = only(tick(meter.source(), clock))
    clock.advance(101)
    source = meter.source(former_of([before]))
    readings = source.read(clock.now_ns)
    assert only(readings).gaps == 1
    (note,) = (note for note in readings.notes if note.event == "gap")
    assert note.level is Level.INFO
    assert "since the stop at" in note.cause


def test_a_gauge_goes_on_over_a_short_pause_only(meter, clock):
    """Up to `bridge_ns` as a straight line, also over a restart; beyond, a typed gap and no energy."""
    shown = meter.show(10 * W, kind=GAUGE, bridge_ns=10 * S)
    before = only(tick(meter.source(), clock))
    shown.value = 20 * W
    clock.advance(10)
    after = only(meter.source(former_of([before])).read(clock.now_ns))
    assert (after.energy_uj - before.energy_uj, after.gaps) == (150 * J, 0)
    assert after.integration_uj - before.integration_uj == 50 * J
    clock.advance(10.1)
    source = meter.source(former_of([after]))
    last = only(source.read(clock.now_ns))
    assert (last.energy_uj, last.gaps, last.integration_uj) == (after.energy_uj, 1, after.integration_uj)


def test_a_later_gap_is_not_laid_to_the_stop(meter, clock):
    """Once a run has read the zone, a pause is an error of its own."""
    meter.show(10 * W, kind=GAUGE, bridge_ns=10 * S)
    before = only(tick(meter.source(), clock))
    source = meter.source(former_of([before]))
    tick(source, clock)
    (note,) = tick(source, clock, 11).notes
    assert (note.event, note.level) == ("gap", Level.COUNTED)
    assert "stop" not in note.cause


@pytest.mark.parametrize(("before", "after"), [(COUNTER, GAUGE), (GAUGE, COUNTER)])
@pytest.mark.parametrize("over_a_restart", [False, True])
def test_microjoules_are_never_taken_for_microwatts(meter, clock, before, after, over_a_restart):
    """A zone that another kind of channel shows goes on at its energy, with a gap; the error doesn't fall."""
    meter.show(400 * J, kind=before)
    source = meter.source()
    meter.shown[zone()].value = 450 * J
    row = only(tick(source, clock))
    meter.show(300 * W, kind=after)
    clock.advance(1)
    if over_a_restart:
        source = meter.source(former_of([row]))
    changed = only(tick(source, clock, LOOK_NS / S - 1))
    flowed_uj = 9 * 300 * J if over_a_restart and after is GAUGE else 0  # since the new meter's first reading
    assert (changed.energy_uj - row.energy_uj, changed.gaps, changed.epoch) == (flowed_uj, 1, row.epoch)
    assert changed.integration_uj == row.integration_uj
    assert (row.integration_uj > 0) == (before is GAUGE)


def test_another_range_is_another_counter(meter, clock):
    """A gap, said, and no energy from the difference of two counters."""
    meter.show(50 * J, range_uj=100_000 * J)
    source = meter.source()
    before = only(tick(source, clock))
    meter.show(10 * J, range_uj=200_000 * J)
    readings = tick(source, clock, LOOK_NS / S)
    after = only(readings)
    assert (after.energy_uj, after.gaps, after.raw_range) == (before.energy_uj, 1, 200_000 * J)
    assert "gap" in events(readings)
    resumed = meter.source(former_of([before]))
    assert only(resumed.read(clock.now_ns)).gaps == 1


def test_a_gauge_with_another_cap_keeps_its_account(meter, clock):
    """Only the longest pause changes: no gap, and the new cap holds."""
    meter.show(10 * W, kind=GAUGE, bridge_ns=10 * S)
    source = meter.source()
    meter.show(10 * W, kind=GAUGE, bridge_ns=60 * S)
    tick(source, clock, 10)
    row = only(tick(source, clock, 50))
    assert (row.energy_uj, row.gaps) == (600 * J, 0)


def test_a_counter_that_was_set_back_is_a_gap(meter, clock):
    """Without a range a fall is no wrap: nothing is invented."""
    shown = meter.show(500 * J)
    source = meter.source()
    shown.value = 3 * J
    readings = tick(source, clock)
    assert (only(readings).energy_uj, only(readings).gaps) == (0, 1)
    assert [note.level for note in readings.notes] == [Level.COUNTED]


def test_a_repeated_sample_is_no_new_reading(meter, clock):
    """A slow meter keeps its row, and its time, until there is a newer one; no energy, no note, up."""
    shown = meter.show(10 * W, kind=GAUGE, mono_ns=clock.now_ns, bridge_ns=60 * S, period_ns=30 * S)
    source = meter.source()
    first = only(source.read(clock.now_ns))
    shown.value = 99 * W  # a figure with an old time
    for _second in range(5):
        readings = tick(source, clock)
        assert readings.rows == [first]
        assert readings.state.up
        assert readings.notes == []
    shown.value, shown.mono_ns = 10 * W, clock.now_ns
    row = only(tick(source, clock))
    assert (row.energy_uj, row.mono_ns, row.period_ns) == (50 * J, shown.mono_ns, 30 * S)


def test_a_rejected_sample_is_judged_once(meter, clock):
    """An absurd figure of a slow meter is one rejection, however often it is seen; the fault lasts."""
    shown = meter.show(10 * W, kind=GAUGE, mono_ns=clock.now_ns, bridge_ns=600 * S)
    source = meter.source()
    shown.value, shown.mono_ns = 0xFFFF_FFFF * W, clock.now_ns + S
    seen = [tick(source, clock) for _second in range(6)]
    assert [event for readings in seen for event in events(readings)] == ["refused"]
    assert not any(readings.absent for readings in seen)
    assert not any(readings.state.up for readings in seen)
    assert "expected power from 0" in seen[-1].state.reason
    shown.value, shown.mono_ns = 10 * W, None
    readings = tick(source, clock)
    assert readings.state.up
    assert only(readings).energy_uj == 70 * J


def test_three_rejected_samples_make_a_zone_absent(meter, clock):
    """Its row stays as it was, and the reason is in the table of absent zones."""
    shown = meter.show(10 * W, kind=GAUGE)
    source = meter.source()
    before = only(source.read(clock.now_ns))
    shown.value = -5
    absent = [tick(source, clock).absent for _second in range(3)]
    assert [len(rows) for rows in absent] == [0, 0, 1]
    assert (absent[2][0].why, absent[2][0].zone) == (UNREADABLE, "package")
    assert source.read(clock.now_ns).rows == [before]


def test_a_time_to_come_is_rejected(meter, clock):
    """A BMC whose clock is mapped wrongly can't silence its zone until that time comes."""
    shown = meter.show(10 * W, kind=GAUGE)
    source = meter.source()
    shown.mono_ns = clock.now_ns + 3600 * S
    readings = tick(source, clock)
    assert "3.6e+03 s ahead" in readings.state.reason
    shown.mono_ns = None
    row = only(tick(source, clock))
    assert (row.energy_uj, row.gaps) == (20 * J, 0)


def test_a_failing_channel_keeps_its_row_and_heals(meter, clock):
    """It is absent with place and reason, the others go on, and what flowed meanwhile is in its next row."""
    package, dram = meter.show(0), meter.show(0, name="dram")
    source = meter.source()
    before = {row.zone.name: row for row in tick(source, clock).rows}
    package.error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    dram.value = 5 * J
    readings = tick(source, clock)
    rows = {row.zone.name: row for row in readings.rows}
    assert rows["package"] == before["package"]
    assert rows["dram"].energy_uj == 5 * J
    assert [(one.zone, one.why) for one in readings.absent] == [("package", UNREADABLE)]
    assert readings.state.reason == "package 0: /meter/package: Permission denied"
    assert not readings.nothing_found
    package.error, package.value = None, 40 * J
    readings = tick(source, clock)
    assert {row.zone.name: row.energy_uj for row in readings.rows} == {"package": 40 * J, "dram": 5 * J}
    assert readings.state.up


def test_a_text_that_is_no_number_is_a_failure(meter, clock):
    """ValueError is as good as OSError: an empty or torn file is no measurement."""
    shown = meter.show(0)
    source = meter.source()
    shown.error = ValueError("expected microwatts, got b''")
    readings = tick(source, clock)
    assert "expected microwatts, got b''" in readings.state.reason
    assert events(readings) == ["unreadable"]


def test_a_kill_at_a_failing_reading_loses_nothing(meter, clock):
    """The row that stays is what the next run goes on from, in the same epoch."""
    shown = meter.show(0)
    before = only(meter.source().read(clock.now_ns))
    shown.error = OSError(errno.EIO, os.strerror(errno.EIO))
    source = meter.source(former_of([before]))
    assert source.zones == [zone()]
    silent = only(tick(source, clock))
    assert silent == before
    shown.error, shown.value = None, 9 * J
    row = only(tick(meter.source(former_of([silent])), clock))
    assert (row.energy_uj, row.epoch, row.gaps) == (9 * J, before.epoch, 0)


@pytest.mark.parametrize("kills", [0, 2])
def test_a_zone_that_is_unreadable_as_a_whole_has_not_gone(meter, clock, kills):
    """Discovery can't say which zone a meter has: known ones keep their rows and epochs, over kills too."""
    shown = meter.show(1_000)
    source = meter.source()
    epoch = only(tick(source, clock)).epoch
    shown.is_found, shown.error = False, OSError(errno.EIO, os.strerror(errno.EIO))
    meter.unreadable = [Absent(NAME, "", "chip0", UNREADABLE, "name: Input/output error")]
    for _tick in range(15):  # beyond the time between two looks
        readings = tick(source, clock)
    assert (only(readings).energy_uj, readings.state.up) == (0, False)
    for _kill in range(kills):
        source = meter.source(former_of(readings.rows))
        readings = tick(source, clock)
        assert (only(readings).epoch, readings.state.up) == (epoch, False)
    assert {(one.zone, one.index) for one in readings.absent} == {("", "chip0"), ("package", "0")}
    meter.unreadable = []
    shown.is_found, shown.error, shown.value = True, None, 900_000
    for _tick in range(12):
        readings = tick(source, clock)
    row = only(readings)
    assert (row.energy_uj, row.epoch, row.gaps) == (899_000, epoch, 0)


def test_zones_come_and_go(meter, clock):
    """A new one begins an epoch of its own; one that has gone has no row and isn't absent; each is logged."""
    meter.show(0)
    source = meter.source()
    dram = meter.show(7 * J, name="dram")
    readings = tick(source, clock, LOOK_NS / S)
    rows = {row.zone.name: row for row in readings.rows}
    assert (rows["dram"].energy_uj, rows["dram"].epoch) == (0, clock.now_ns)
    assert events(readings) == ["zone_found"]
    del meter.shown[zone("dram")]
    readings = source.read(clock.now_ns + LOOK_NS)
    assert [row.zone.name for row in readings.rows] == ["package"]
    assert (events(readings), readings.absent, readings.state.up) == (["zone_gone"], [], True)
    assert zone("dram") in meter.closed
    assert source.zones == [zone()]
    meter.shown[zone("dram")], dram.value = dram, 9 * J
    clock.advance(2 * LOOK_NS / S)
    row = next(row for row in source.read(clock.now_ns).rows if row.zone.name == "dram")
    assert (row.energy_uj, row.epoch) == (2 * J, rows["dram"].epoch)


def test_a_channel_object_that_comes_back_is_read_again(meter, clock):
    """Discovery may return the very same channel after the zone was away."""
    meter.show(0)
    channels = {}
    make = meter._channel
    meter._channel = lambda key, shown: channels.setdefault(key, make(key, shown))
    source = meter.source()
    shown = meter.shown.pop(zone())
    assert tick(source, clock, LOOK_NS / S).rows == []
    meter.shown[zone()], shown.value = shown, 4 * J
    assert only(tick(source, clock, LOOK_NS / S)).energy_uj == 4 * J


def test_a_counter_that_is_lower_after_its_zone_was_away_began_anew(meter, clock):
    """That is a gap, and no wrap, however possible a wrap is."""
    shown = meter.show(99_990 * J, range_uj=100_000 * J)
    source = meter.source()
    del meter.shown[zone()]
    tick(source, clock, LOOK_NS / S)
    meter.shown[zone()], shown.value = shown, 10 * J
    row = only(tick(source, clock, LOOK_NS / S))
    assert (row.energy_uj, row.gaps) == (0, 1)


def test_looking_costs_little(meter, clock):
    """Discovery runs at the start, then each ten seconds, and at the next reading after a failure."""
    shown = meter.show(0)
    source = meter.source()
    for _second in range(9):
        tick(source, clock)
    assert meter.finds == 1
    tick(source, clock)
    assert meter.finds == 2
    shown.error = OSError(errno.EIO, "broken")
    tick(source, clock)
    tick(source, clock)
    assert meter.finds == 3


def test_discovery_that_fails_stops_no_reading(meter, clock):
    """The channels that are known are read on; the source isn't up, says why, and looks again at once."""
    shown = meter.show(0)
    source = meter.source()
    meter.find_error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    shown.value = 5 * J
    readings = tick(source, clock, LOOK_NS / S)
    assert only(readings).energy_uj == 5 * J
    assert readings.state.reason == "test-meter: looking for meters failed: Permission denied"
    meter.find_error = None
    assert tick(source, clock).state.up


def test_a_machine_without_the_meter_is_no_fault(meter, clock):
    """No row, no absent zone, and the reason for who asks."""
    readings = meter.source().read(clock.now_ns)
    assert (readings.rows, readings.absent, readings.notes) == ([], [], [])
    assert readings.nothing_found
    assert (readings.state.up, readings.state.reason) == (False, "no such meter here")


def test_a_meter_that_can_not_be_read_is_a_fault(meter, clock):
    """It is there, so it is shown, and said in the log."""
    meter.unreadable = [Absent("test-meter", "", "hwmon3", UNREADABLE, "hwmon3: Permission denied")]
    readings = meter.source().read(clock.now_ns)
    assert not readings.nothing_found
    assert readings.absent == meter.unreadable
    assert readings.state.reason == "hwmon3: Permission denied"
    assert {(note.event, note.cause) for note in readings.notes} == {("unreadable", readings.state.reason)}


def test_no_more_zones_than_a_frame_may_have(meter, clock):
    """Those beyond are left out, closed and said; when one has gone there is room for another."""
    for index in range(ZONES_MAX + 2):
        meter.show(index, index=str(index))
    source = meter.source()
    readings = source.read(clock.now_ns)
    assert len(readings.rows) == ZONES_MAX
    assert [note.event for note in readings.notes] == ["zone_skipped"]
    assert "expected at most 256 zones, got 258; left out: " in readings.notes[0].cause
    assert [key.index for key in meter.closed] == ["256", "257"]
    del meter.shown[zone(index="3")]
    rows = tick(source, clock, LOOK_NS / S).rows
    assert len(rows) == ZONES_MAX
    assert "256" in {row.zone.index for row in rows}


def test_very_many_zones_are_one_line_in_the_log(meter):
    """A short one, which names the first of them."""
    for index in range(ZONES_MAX + 500):
        meter.show(index, index=str(index))
    (note,) = meter.source().read(1).notes
    assert note.cause.endswith("left out: " + ", ".join(["/meter/package"] * 4) + " and 496 more")


def test_a_zone_that_made_room_begins_a_new_epoch(meter, clock):
    """It was forgotten, so it must not go on from an old row with less energy."""
    for index in range(ZONES_MAX):
        meter.show(0, index=str(index))
    first = meter.source()
    former = former_of(first.read(clock.now_ns).rows)
    source = meter.source(former)
    gone = meter.shown.pop(zone(index="3"))
    meter.show(0, index="new")
    tick(source, clock, LOOK_NS / S)
    meter.shown.pop(zone(index="4"))
    meter.shown[zone(index="3")] = replace(gone, value=50 * J)
    row = next(row for row in tick(source, clock, LOOK_NS / S).rows if row.zone.index == "3")
    assert (row.energy_uj, row.epoch) == (0, clock.now_ns)


def test_all_series_begin_again(meter, clock):
    """After a switch the zones are at 0 in new epochs, also those that a former run has counted."""
    shown = meter.show(0)
    before = only(meter.source().read(clock.now_ns))
    source = meter.source(former_of([before]))
    shown.value = 8 * J
    tick(source, clock)
    source.begin_again()
    assert source.zones == []
    row = only(tick(source, clock))
    assert (row.energy_uj, row.epoch) == (0, clock.now_ns)


def test_everything_is_closed(meter, clock):
    """Each channel, once discovery has replaced it and at the end."""
    meter.show(0)
    source = meter.source()
    tick(source, clock, LOOK_NS / S)
    assert meter.closed == [zone()]
    source.close()
    assert meter.closed == [zone(), zone()]


def test_a_sample_is_dated_in_the_middle_of_its_reading(monkeypatch):
    """Half of the time that the reading took lies before it."""
    clock = Clock(100)
    monkeypatch.setattr("services.power.channel.time", clock)

    def read():
        clock.now_ns += 40
        return 7

    sample = sampled(read)
    assert (sample.mono_ns, sample.value) == (120, 7)
