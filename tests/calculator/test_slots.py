# SPDX-License-Identifier: Apache-2.0
"""Which source owns a slot: rank, absence, return; each series begins where the one before it ended."""

import pytest

from services.calculator.candidate import SPARE_POINTS_MAX, Described
from services.calculator.slots import AWAY_PERIODS, GOOD_READINGS, IS_BETTER, IS_MEASURED, WAS_AWAY, Slots

from .meters import ABSENT, GONE, GOOD, HUNG, PROCESS, House, Meter
from .world import S


def pair(**of_second):
    """A platform's best source, and a spare of it in another stream."""
    more = {"rank": 3, "stream": "power-bmc", **of_second}
    return House([Meter("platform", "0", "redfish"), Meter("platform", "chassis", "acpi", **more)])


def is_exact(house):
    """No hole, and all energy is counted once."""
    assert house.holes() == []
    assert house.gaps() == 0
    (_start_ns, end_ns, _name) = house.stretches()[-1]
    assert house.total_uj() == (end_ns - house.begun_ns) // 1000 * 50


def test_a_spare_is_not_counted():
    """Of two sources of one platform the better one is counted, whatever their indexes."""
    house = pair()
    house.seconds(10)
    assert [*house.covered] == [("platform", "0", "redfish")]
    is_exact(house)


@pytest.mark.parametrize("is_first", [False, True])
def test_a_row_of_the_whole_node_is_not_counted_beside_its_sockets(is_first):
    """A counter of all sockets together (index node) and those of the sockets are rivals, by rank."""
    sockets = [Meter("package", str(socket), "rapl", power_uw=25_000_000) for socket in (0, 1)]
    node = Meter("package", "node", "cray", rank=0 if is_first else 3, stream="power-cray")
    for socket in sockets:
        socket.rank = 3 if is_first else 0
    house = House([*sockets, node])
    house.seconds(20)
    assert set(house.owner("package")) == {"cray" if is_first else "rapl"}
    (_start_ns, end_ns, _name) = house.stretches()[-1]
    assert house.total_uj() == (end_ns - house.begun_ns) // 1000 * 50


@pytest.mark.parametrize("state", [HUNG, ABSENT, GONE, "dead"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_an_owner_that_is_away_loses_its_slot_without_a_hole(state, is_killed):
    """After five periods, not before; the spare's series begins at the owner's newest reading."""
    house = pair()
    house.seconds(10)
    if state == "dead":
        house.dead.add("power")
    else:
        house.meter("redfish").state = state
    house.seconds(AWAY_PERIODS)
    assert house.owner() == ["redfish"]
    if is_killed:
        house.kill()
        house.look()
    house.seconds(2)
    assert house.owner() == ["acpi"]
    assert [change.reason for change in house.changes] == [WAS_AWAY]
    assert house.covered["platform", "chassis", "acpi"][0][0] == 1010 * S
    is_exact(house)


def test_a_better_source_comes_back_after_five_good_readings():
    """Its series goes on from its last total where the spare's ends."""
    house = pair()
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(20)
    stood_uj = house.desk.zone("platform").measured_uj
    house.meter("redfish").state = GOOD
    house.seconds(GOOD_READINGS - 1)
    assert house.owner() == ["acpi"]
    house.seconds(10)
    assert house.owner() == ["redfish"]
    assert [change.reason for change in house.changes] == [WAS_AWAY, IS_BETTER]
    assert house.desk.zone("platform").measured_uj > stood_uj
    assert house.desk.zone("platform").takeovers == 1
    is_exact(house)


def test_a_source_that_flaps_does_not_come_back():
    """Four good readings and a pause, again and again: the spare keeps the slot, and there are no changes."""
    house = pair()
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(10)
    for _time in range(6):
        house.meter("redfish").state = GOOD
        house.seconds(GOOD_READINGS - 1)
        house.meter("redfish").state = HUNG
        house.seconds(AWAY_PERIODS + 1)
    assert house.owner() == ["acpi"]
    assert len(house.changes) == 1
    is_exact(house)


def test_a_spare_that_is_away_itself_takes_nothing():
    """Of two sources that hang, the owner stays; the first one to read again is counted."""
    house = pair()
    house.seconds(10)
    for meter in house.meters:
        meter.state = HUNG
    house.seconds(30)
    assert house.owner() == ["redfish"]
    house.meter("acpi").state = GOOD
    house.seconds(1)
    assert house.owner() == ["acpi"]
    is_exact(house)


def test_equal_ranks_stay_with_the_first():
    """Where no publisher sends ranks, the one that came first keeps the slot; the other one is its spare."""
    house = pair(rank=0)
    house.seconds(20)
    assert house.owner() == ["redfish"]
    house.meter("redfish").state = HUNG
    house.seconds(7)
    house.meter("redfish").state = GOOD
    house.seconds(20)
    assert house.owner() == ["acpi"]
    is_exact(house)


def test_one_source_in_two_streams_is_counted_once():
    """The same zone of the same source from two streams is one series; a takeover goes on in it."""
    house = House(
        [Meter("package", "0", "rapl-sysfs"), Meter("package", "0", "rapl-sysfs", stream="power-b", rank=1)]
    )
    house.seconds(10)
    house.dead.add("power")
    house.seconds(10)
    assert len(house.desk.tables()["zones"]) == 1
    assert [one.stream for one in house.desk.state.zones.slots.owners()] == ["power-b"]
    is_exact(house)


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_the_last_second_of_a_stream_goes_to_its_users(is_killed):
    """Its window is not complete when another stream of the same source takes over; it waits for that."""
    house = House(
        [Meter("package", "0", "rapl-sysfs"), Meter("package", "0", "rapl-sysfs", stream="power-b", rank=1)]
    )
    shown = []
    for second in range(60):
        house.dead = {"power"} if second // 15 % 2 else set()
        house.paper.run(S // 2, {(PROCESS, 0): (0.2, 1, 1, 0)})
        for stream in sorted({"power", "power-b"} - house.dead):
            house.take(house.frame(stream))
            shown.append(house.desk.tables())
        if is_killed and second % 7 == 0:
            house.kill()
        house.paper.run(S // 2, {(PROCESS, 0): (0.2, 1, 1, 0)})
        for frame in (house.paper.metadata(), house.paper.activity()):
            house.desk.take(frame)
        house.look()
    assert len(house.changes) >= 3
    assert house.holes() == []
    assert house.desk.left_uj("package") == {}
    for tables in shown:
        spares = [*tables["spares"].stream]
        assert tables["zones"].stream[0] not in spares, "shown as the owner and as its own spare"


def test_a_meter_takes_over_from_an_estimate_at_once():
    """And an estimate, which is the whole machine, from all sockets' meters once all of them are away."""
    sockets = [Meter("package", str(index), "rapl-sysfs") for index in range(2)]
    house = House([*sockets, Meter("package", "0", "model", rank=9, provenance="estimated")])
    house.seconds(5)
    sockets[0].state = HUNG
    house.seconds(20)
    assert house.owner("package") == ["rapl-sysfs"]
    sockets[1].state = HUNG
    house.seconds(7)
    assert house.owner("package") == ["model"]
    sockets[0].state = GOOD
    house.seconds(1)
    assert house.owner("package") == ["rapl-sysfs"]
    assert [change.reason for change in house.changes] == [WAS_AWAY, IS_MEASURED]
    sockets[1].state = GOOD
    house.seconds(3)
    assert {*house.covered} == {meter.name for meter in house.meters}
    # The second socket's series goes on where the estimate of the whole machine has ended.
    assert house.covered["package", "1", "rapl-sysfs"][1][0] >= house.covered["package", "0", "model"][0][1]


def test_rows_of_one_source_do_not_compete():
    """Two chassis of one source are both counted, and both end when another source takes over."""
    chassis = [Meter("platform", str(index), "redfish") for index in range(2)]
    house = House([*chassis, Meter("platform", "0", "acpi", rank=1)])
    house.seconds(5)
    assert len(house.covered) == 2
    for one in chassis:
        one.state = HUNG
    house.seconds(7)
    assert house.owner() == ["acpi"]
    for one in chassis:
        one.state = GOOD
    house.seconds(7)
    assert house.owner() == ["redfish"]
    assert sum(one.is_owner for one in house.desk.state.zones.slots.candidates.values()) == 2


def test_time_that_neither_has_read_is_a_gap():
    """A spare that begins to count after the owner's last reading has one gap before its series."""
    house = pair()
    spare = house.meters.pop()
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(10)
    house.meters.append(spare)
    spare.begin(house.now_ns)
    house.seconds(3)
    assert house.holes() == [(1010 * S, 1020 * S, spare.name)]
    assert house.desk.zone("platform", "chassis").meter.gaps == 1


def test_an_epoch_that_was_not_watched_is_not_interpolated():
    """A spare whose count began long ago, but was never read: its series begins at its first reading."""
    house = pair()
    spare = house.meters.pop()
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(10)
    house.meters.append(spare)
    house.seconds(3)
    assert house.holes() == [(1010 * S, 1021 * S, spare.name)]
    assert house.gaps() == 1


def test_an_earlier_epoch_of_a_spare_is_a_gap():
    """A spare that began anew while the owner was hanging has no curve back to the owner's last reading."""
    house = pair()
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(3)
    house.meter("acpi").begin(house.now_ns)
    house.seconds(5)
    assert house.holes() == [(1010 * S, 1013 * S, ("platform", "chassis", "acpi"))]
    assert house.gaps() == 1


def test_a_slow_and_late_owner_has_five_of_its_own_periods():
    """A BMC read each 30 s, 20 s late: nothing is decided for 150 s, and nothing is lost after them."""
    house = pair()
    slow = house.meter("redfish")
    slow.period_ns, slow.late_ns = 30 * S, 20 * S
    house.seconds(200)
    slow.state = HUNG
    newest_ns = slow.shown_ns
    house.seconds(125)
    assert house.owner() == ["redfish"]
    house.seconds(30)
    assert house.owner() == ["acpi"]
    assert house.covered["platform", "chassis", "acpi"][0][0] == newest_ns
    is_exact(house)
    slow.state = GOOD
    house.seconds(5 * 30 + 10)
    assert house.owner() == ["redfish"]
    house.seconds(60)
    is_exact(house)


def test_a_spare_that_is_behind_begins_when_it_gets_there():
    """A late spare's series begins at the owner's newest reading, once it was read beyond it."""
    house = pair(period_ns=30 * S, late_ns=20 * S)
    house.seconds(100)
    house.meter("redfish").state = HUNG
    house.seconds(7)
    assert house.owner() == ["acpi"]
    assert len(house.covered) == 1
    house.kill()
    house.seconds(60)
    assert house.covered["platform", "chassis", "acpi"][0][0] == 1100 * S
    is_exact(house)


def test_a_stopped_calculator_takes_no_source_for_dead():
    """Frames of a fast stream that wait behind those of another one, after a pause, decide nothing."""
    house = pair()
    house.seconds(10)
    house.paper.run(600 * S, {})
    house.take(house.frame("power-bmc"))
    house.desk.state.tick(house.now_ns, house.desk.rules)
    assert house.owner() == ["redfish"]
    house.take(house.frame("power"))
    house.seconds(3)
    assert house.owner() == ["redfish"]
    assert house.changes == []


def test_a_calculator_that_starts_again_counts_no_time_without_it():
    """Ten minutes without a calculator: the owner in its ledger is away only after five more periods."""
    house = pair()
    house.seconds(10)
    house.desk.ledger = house.desk.commit()
    house.paper.run(600 * S, {})
    house.desk.kill(house.paper.metadata())
    house.take(house.frame("power-bmc"))
    house.seconds(2)
    assert house.owner() == ["redfish"]
    assert house.changes == []
    is_exact(house)


def test_ten_changes_of_owner_under_load():
    """No joule twice, none lost: each series begins where the other one ended."""
    house = pair()
    house.seconds(10)
    for _time in range(5):
        house.meter("redfish").state = HUNG
        house.seconds(13)
        house.meter("redfish").state = GOOD
        house.seconds(13)
    assert len(house.changes) == 10
    is_exact(house)
    given_uj = sum(house.desk.dynamic_uj("platform").values())
    assert given_uj > 0
    left = house.desk.left_uj("platform") | house.desk.left_uj("platform", "chassis")
    assert left == {}, "a process ran all the time"


def test_gaps_and_errors_of_a_series_are_its_own():
    """What a publisher reported of the time in which it was a spare is not its series'."""
    house = pair()
    spare = house.meter("acpi")
    spare.gaps, spare.integration_uj = 7, 900
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(7)
    spare.gaps, spare.integration_uj = 8, 1000
    house.seconds(2)
    zones = house.desk.tables()["zones"]
    row = zones.source.index("acpi")
    assert (zones.gaps[row], zones.integration_uj[row]) == (1, 100)


def test_a_ring_of_readings_is_bounded():
    """However long an owner's period is, so many readings of a spare are kept, and the first one stays."""
    house = pair()
    house.meter("redfish").period_ns = 600 * S
    house.seconds(610)
    house.meter("redfish").state = HUNG
    house.seconds(1000)
    (spare,) = house.desk.state.zones.slots.spares()
    assert len(spare.curve.points) <= SPARE_POINTS_MAX
    house.meter("redfish").period_ns = 0
    house.seconds(1)
    assert house.covered["platform", "chassis", "acpi"][0][0] == 1600 * S
    is_exact(house)


def test_a_reading_after_a_silence_is_the_first_of_a_row():
    """Also where nothing else was decided since: five good readings come after it."""
    slots = Slots()
    slots.hear("power", 100 * S, S)
    spare = slots.add(("platform", "0", "acpi"), "power")
    spare.row = Described(period_ns=S)
    for second in range(4):
        slots.hear("power", (101 + second) * S, S)
        slots.renew(spare)
    for second in range(6):
        slots.hear("power", (105 + second) * S, S)
    slots.renew(spare)
    assert spare.good == 1


def test_a_single_row_of_another_kind_changes_no_owner():
    """It would free the slot at once for any other source, and that one is waited for by its own period."""
    house = House([Meter("package", "0", "rapl"), Meter("package", "0", "slow", period_ns=30 * S)])
    house.seconds(40)
    house.desk.rejected_max = 2
    house.meter("rapl").provenance = "estimated"
    house.seconds(2)
    house.meter("rapl").provenance = "measured"
    house.seconds(10)
    assert house.owner("package") == ["rapl"]
    assert [name[2] for name in house.desk.state.zones.zones] == ["rapl"]


def test_an_owner_that_becomes_an_estimate_is_chosen_anew():
    """A source whose rows turn from measured to estimated has other rivals then; no time is counted twice."""
    house = House([Meter("package", "0", "rapl"), Meter("package", "1", "odd", rank=1)])
    house.seconds(10)
    assert house.owner("package") == ["odd", "rapl"]
    house.desk.rejected_max = 6  # two readings at each turn
    house.meter("odd").provenance = "estimated"
    house.seconds(10)
    assert house.owner("package") == ["rapl"]
    house.kill()
    house.meter("odd").provenance = "measured"
    house.seconds(10)
    assert house.owner("package") == ["odd", "rapl"]
    house.meter("rapl").state = GONE
    house.meter("odd").provenance = "estimated"
    house.seconds(10)
    assert house.owner("package") == ["odd"]
    house.kill()
