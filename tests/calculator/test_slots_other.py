# SPDX-License-Identifier: Apache-2.0
"""The zone `other` beside several streams: a late BMC, and owners of platform and parts that change."""

import pytest

from .meters import GONE, GOOD, HUNG, House, Meter
from .world import S

W = 1_000_000
PLATFORM_W, PACKAGE_W, DRAM_W = 90, 40, 10
REST_W = PLATFORM_W - PACKAGE_W - DRAM_W


def node(*more):
    """RAPL each second, and a BMC in another stream, read each 30 s and 20 s late."""
    return House(
        [
            Meter("package", "0", "rapl-sysfs", power_uw=PACKAGE_W * W),
            Meter("dram", "0", "rapl-dram", power_uw=DRAM_W * W),
            Meter(
                "platform",
                "node",
                "redfish",
                "power-bmc",
                power_uw=PLATFORM_W * W,
                period_ns=30 * S,
                late_ns=20 * S,
            ),
            *more,
        ]
    )


def others(house):
    """All series `other`, with what waits for activity."""
    return {
        name[2]: zone.measured_uj + zone.meter.newest[1] - zone.meter.attributed_uj
        for name, zone in house.desk.state.zones.zones.items()
        if name[0] == "other"
    }


def other_gaps(house):
    zones = house.desk.tables()["zones"]
    return {
        source: gaps
        for zone, source, gaps in zip(zones.zone, zones.source, zones.gaps, strict=True)
        if zone == "other"
    }


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_a_late_bmc_is_compared_with_its_parts_at_its_own_readings(is_killed):
    """`other` is exact at each of its readings, also after a calculator was killed between two of them."""
    house = node()
    for second in range(300):
        house.seconds(1)
        if is_killed and second % 7 == 0:
            house.kill()
    partition = house.desk.state.zones.partition
    assert partition.bound_ns == house.meter("redfish").shown_ns
    assert others(house) == {"redfish": (partition.bound_ns - partition.epoch) // S * REST_W * W}
    assert partition.epoch <= house.begun_ns + S
    assert partition.disagreement_uj == 0


class Uneven(Meter):
    """A package that draws its power in every other minute only."""

    def energy_uj(self, at_ns):
        minutes, rest_ns = divmod(at_ns - self.epoch, 120 * S)
        return (minutes * 60 * S + min(rest_ns, 60 * S)) // 1_000_000 * self.power_uw // 1000


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_parts_that_change_between_two_readings_of_the_bmc(is_killed):
    """All readings of a part since the platform's last one are kept, in the ledger too."""
    house = node()
    house.meters[0] = part = Uneven("package", "0", "rapl-sysfs", power_uw=PACKAGE_W * W)
    part.begin(house.now_ns)
    house.look = lambda: None
    for second in range(300):
        house.seconds(1)
        if is_killed and second % 7 == 0:
            house.kill()
    partition = house.desk.state.zones.partition
    platform_uj = (partition.bound_ns - partition.epoch) // S * (PLATFORM_W - DRAM_W) * W
    part_uj = part.energy_uj(partition.bound_ns) - part.energy_uj(partition.epoch)
    assert partition.remainder_uj == platform_uj - part_uj


def test_a_platform_that_shows_less_than_its_parts_is_a_disagreement():
    """How much is missing is shown; `other` doesn't fall."""
    house = node()
    house.meter("redfish").power_uw = 30 * W
    house.seconds(200)
    zones = house.desk.tables()["zones"]
    row = zones.zone.index("other")
    elapsed_s = (house.desk.state.zones.partition.bound_ns - house.begun_ns) // S - 1
    assert zones.measured_uj[row] == 0
    assert zones.disagreement_uj[row] == elapsed_s * (PACKAGE_W + DRAM_W - 30) * W


def test_a_change_of_the_platforms_owner_begins_another_series():
    """Each owner has an `other` of its own for its own time: none of it is lost, none counted twice."""
    house = node(Meter("platform", "acpi", "acpi", rank=2, power_uw=PLATFORM_W * W))
    house.seconds(120)
    house.meter("redfish").state = HUNG
    house.seconds(200)
    assert house.owner() == ["acpi"]
    house.meter("redfish").state = GOOD
    house.seconds(250)
    assert house.owner() == ["redfish"]
    found = others(house)
    assert set(found) == {"redfish", "acpi"}
    bound_ns = house.desk.state.zones.partition.bound_ns
    assert bound_ns == house.meter("redfish").shown_ns
    assert sum(found.values()) == (bound_ns - house.begun_ns) // S * REST_W * W
    assert house.gaps() == 0


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize("late_s", [0, 3])
def test_a_change_of_a_parts_owner_is_nothing_to_other(late_s, is_killed):
    """What the part's new owner has counted while the old one hung is neither lost nor counted twice."""
    house = node(
        Meter("package", "0", "rapl-perf", rank=1, power_uw=PACKAGE_W * W, late_ns=late_s * S),
    )
    for state, seconds in ((GOOD, 40), (HUNG, 43), (GOOD, 47), (HUNG, 51), (GOOD, 149)):
        house.meter("rapl-sysfs").state = state
        for second in range(seconds):
            house.seconds(1)
            if is_killed and second % 4 == 3:
                house.kill()
    assert len(house.changes) == 4
    partition = house.desk.state.zones.partition
    assert partition.bound_ns == house.meter("redfish").shown_ns
    assert others(house) == {"redfish": (partition.bound_ns - partition.epoch) // S * REST_W * W}
    assert house.desk.state.zones.partition.disagreement_uj == 0


@pytest.mark.parametrize("state", [HUNG, GONE])
def test_other_waits_for_a_spare_that_is_behind(state):
    """A platform read each second, a part whose owner goes, and whose spare is read 20 s late."""
    house = node(
        Meter("package", "0", "rapl-perf", rank=1, power_uw=PACKAGE_W * W, late_ns=20 * S),
    )
    house.meter("redfish").period_ns = house.meter("redfish").late_ns = 0
    house.seconds(60)
    house.meter("rapl-sysfs").state = state
    for _second in range(60):
        house.seconds(1)
        partition = house.desk.state.zones.partition
        assert others(house) == {"redfish": (partition.bound_ns - partition.epoch) // S * REST_W * W}
    assert house.owner("package") == ["rapl-perf"]
    assert partition.bound_ns == house.now_ns - 20 * S
    assert house.holes() == []


def test_a_part_whose_stream_is_held_up_is_waited_for():
    """Half a minute without a frame, as on a machine that is too busy: `other` takes nothing for its own."""
    house = node()
    house.meters[0].stream = "power-cpu"
    house.meter("redfish").late_ns = 0
    house.seconds(100)
    partition = house.desk.state.zones.partition
    for second in range(180):
        house.dead = {"power-cpu"} if second // 30 % 2 else set()
        house.seconds(1)
        assert others(house) == {"redfish": (partition.bound_ns - partition.epoch) // S * REST_W * W}
    house.dead = set()
    house.seconds(1)
    assert partition.bound_ns == house.meter("redfish").shown_ns


def test_a_part_whose_stream_has_died_is_waited_for_no_longer():
    """Without a spare, the platform's other parts go on: what it has counted is `other` from then on."""
    house = node()
    house.meters[0].stream = "power-cpu"
    house.seconds(100)
    house.dead.add("power-cpu")
    house.seconds(200)
    bound_ns = house.desk.state.zones.partition.bound_ns
    assert bound_ns == house.meter("redfish").shown_ns
    house.dead.clear()
    house.seconds(100)
    partition = house.desk.state.zones.partition
    assert partition.bound_ns == house.meter("redfish").shown_ns
    # The part's energy of the meantime comes when it is back; the running maximum waits for it.
    elapsed_s = (partition.bound_ns - house.begun_ns) // S
    assert partition.remainder_uj <= elapsed_s * (REST_W + PACKAGE_W) * W


def test_a_platform_that_comes_later_than_its_parts():
    """However long its stream has counted before it was seen, `other` covers no time of unknown parts."""
    house = node()
    house.meter("redfish").late_ns = 0
    house.dead = {"power-bmc"}
    house.seconds(35)
    house.dead = set()
    house.seconds(100)
    partition = house.desk.state.zones.partition
    (other_uj,) = others(house).values()
    assert partition.epoch >= 1035 * S
    assert other_uj == (partition.bound_ns - partition.epoch) // S * REST_W * W


def test_time_that_other_skips_is_its_gap():
    """The platform is read again in a new epoch, or by another owner later: both are stated once."""
    house = node(Meter("platform", "acpi", "acpi", rank=2, power_uw=PLATFORM_W * W))
    redfish, acpi = house.meter("redfish"), house.meter("acpi")
    redfish.period_ns = redfish.late_ns = 0
    house.seconds(10)
    acpi.state = redfish.state = HUNG
    house.seconds(10)
    redfish.begin(house.now_ns)
    redfish.state = GOOD
    house.seconds(10)
    assert other_gaps(house) == {"acpi": 0, "redfish": 1}
    redfish.state = HUNG
    house.seconds(10)
    acpi.begin(house.now_ns)
    acpi.state = GOOD
    house.seconds(10)
    assert house.owner() == ["acpi"]
    assert other_gaps(house) == {"redfish": 1, "acpi": 1}


def test_a_former_other_keeps_no_windows():
    """Where its series would go on, others have come to by then: activity is not kept for it."""
    house = node(Meter("platform", "acpi", "acpi", "power-bmc", rank=2, power_uw=PLATFORM_W * W))
    redfish = house.meter("redfish")
    redfish.period_ns = redfish.late_ns = 0
    house.seconds(20)
    redfish.state = HUNG
    house.seconds(60)
    assert set(others(house)) == {"redfish", "acpi"}
    assert len(house.desk.state.timeline.windows) <= 2
