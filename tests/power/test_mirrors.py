# SPDX-License-Identifier: Apache-2.0
"""Zones that show one counter are one meter; zones that only draw equal power are several."""

import pytest

from services.power.counter import Limits, Reading
from services.power.mirrors import DECIDED_AFTER, DECIDED_LATE_AFTER, Counter, Mirrors
from services.power.rapl_sysfs import open_source
from services.power.rapl_zones import RaplZone
from services.power.settings import PowerSettings
from services.power.source import Former, Zone, table
from services.power.zone_meter import ZoneMeter
from wattline.second_look import AGREEING
from wattline.zone_power import power_max_uw

from .world import RANGE_UJ, Clock, RaplTree, S

LIMITS = Limits(RANGE_UJ, power_max_uw("package", is_measured=True))
DIES = [Zone("package", f"0-die-{number}", "rapl-sysfs", "measured") for number in range(4)]
READ_APART_NS = 60_000  # from one zone's reading to the next one's
TOOK_NS = 20_000


def counters(second, *raw_uj, dies=DIES):
    """Readings of a tick, one zone after the other; None where a zone can't be read."""
    return {
        zone: Counter(Reading(second * S + number * READ_APART_NS, raw % RANGE_UJ), TOOK_NS, LIMITS)
        for number, (zone, raw) in enumerate(zip(dies, raw_uj, strict=False))
        if raw is not None
    }


def judged(mirrors, seconds, *counter_of):
    """Let seconds pass in which each zone's counter is a function of the time in seconds; all changes."""
    found = []
    for second in seconds:
        read_s = [second + number * READ_APART_NS / S for number in range(len(counter_of))]
        raw = [round(of(at_s)) for of, at_s in zip(counter_of, read_s, strict=True)]
        changes = mirrors.judge(counters(second, *raw), frozenset(DIES) if second == 0 else frozenset())
        found += [(second, "mirrored", *change) for change in changes.mirrored]
        found += [(second, "parted", *change) for change in changes.parted]
    return found


def socket(seconds):
    return 10**9 + 68e6 * seconds


@pytest.mark.parametrize("dies", [2, 4])
def test_one_counter_is_counted_once_from_the_first_reading(dies):
    """The first zone leads; the others are withheld at once and found to be mirrors after four readings."""
    mirrors = Mirrors()
    assert judged(mirrors, [0], *[socket] * dies) == []
    assert [mirrors.is_withheld(zone) for zone in DIES[:dies]] == [False] + [True] * (dies - 1)
    assert judged(mirrors, range(1, 9), *[socket] * dies) == [
        (DECIDED_AFTER, "mirrored", zone, DIES[0]) for zone in DIES[1:dies]
    ]


def test_counters_that_differ_are_apart_at_once():
    """Two sockets of equal power whose counters began at different times are both published at once."""
    mirrors = Mirrors()
    assert judged(mirrors, range(200), socket, lambda seconds: socket(seconds) + 5e6) == []
    assert not mirrors.is_withheld(DIES[1])


def test_a_counter_of_another_range_is_another():
    """Whatever its value."""
    mirrors = Mirrors()
    readings = counters(0, 10**9, 10**9)
    readings[DIES[1]] = readings[DIES[1]]._replace(limits=Limits(RANGE_UJ - 1, LIMITS.power_max_uw))
    mirrors.judge(readings, frozenset(DIES))
    assert not mirrors.is_withheld(DIES[1])


def test_counters_that_drift_apart_are_two():
    """Sockets that began alike by chance are held back only for some readings."""
    mirrors = Mirrors()
    assert judged(mirrors, range(1 + AGREEING), socket, lambda s: 10**9 + 70e6 * s) == []
    assert not mirrors.is_withheld(DIES[1])


def test_counters_that_stand_still_say_nothing():
    """Two zones that use nothing are not one meter for that."""
    mirrors = Mirrors()
    assert judged(mirrors, range(100), lambda _s: 0, lambda _s: 0) == []
    assert mirrors.leader(DIES[1]) is None


def test_a_leader_that_stands_still_holds_nothing_back():
    """One counter can't both move and stand: such zones are apart at once, or after three readings."""
    for power_uw, most in ((30e6, 1), (1e6, 2 + AGREEING)):
        mirrors = Mirrors()
        judged(mirrors, range(1 + most), lambda _s: 0, lambda s, power_uw=power_uw: power_uw * s)
        assert not mirrors.is_withheld(DIES[1])


def test_a_mirror_whose_leader_stops_is_counted_again():
    """Also that is a counter of its own."""
    mirrors = Mirrors()
    found = judged(mirrors, range(30), lambda s: socket(min(s, 20)), socket)
    assert [change[:2] for change in found] == [(DECIDED_AFTER, "mirrored"), (20 + AGREEING, "parted")]


def test_zones_that_are_counted_lead_whatever_their_order():
    """A zone that is read later is held, also if it stands before the counted one."""
    mirrors = Mirrors()
    mirrors.judge(counters(0, None, 10**9), frozenset(DIES))
    for second in range(1, 2 + DECIDED_AFTER):
        raw_uj = 10**9 + 68_000_000 * second
        mirrors.judge(counters(second, raw_uj, raw_uj + 4), frozenset(DIES[:1]))
        assert [mirrors.is_withheld(zone) for zone in DIES[:2]] == [True, False]
    assert mirrors.leader(DIES[0]) == DIES[1]


def test_a_wrap_between_the_two_reads_is_no_difference():
    """One zone is read before the counter's end, the other after it."""
    mirrors = Mirrors()
    start_uj = RANGE_UJ - round(68e6 * 2) - 1_000
    found = judged(mirrors, range(9), *[lambda s: start_uj + 68e6 * s] * 2)
    assert [change[:2] for change in found] == [(DECIDED_AFTER, "mirrored")]


def test_a_mirror_that_parts_is_counted_again():
    """Three readings that differ make it a zone of its own; one or two are an accident."""

    def odd(seconds):
        return socket(seconds) + (50e6 if 10 <= seconds < 12 else 0) + (3e6 * max(0, seconds - 20))

    mirrors = Mirrors()
    found = judged(mirrors, range(30), socket, odd)
    assert [change[:2] for change in found] == [(DECIDED_AFTER, "mirrored"), (20 + AGREEING, "parted")]


def test_a_mirror_that_was_read_wrongly_at_first_is_found_late():
    """Its first reading looked like another counter; a minute of equal ones convinces."""
    mirrors = Mirrors()
    found = judged(mirrors, range(90), socket, lambda s: socket(s) + (680e6 if s < 1 else 0))
    assert [change[:2] for change in found] == [(1 + DECIDED_LATE_AFTER, "mirrored")]


def test_counters_that_cross_are_not_one():
    """One overtakes the other slowly; both are published throughout."""
    mirrors = Mirrors()
    found = judged(mirrors, range(200), socket, lambda s: socket(s) - 4e6 + 4e4 * s)
    assert found == []


@pytest.fixture
def dies(tmp_path):
    """Two dies whose package counters are one, and whose core counters are not."""
    tree = RaplTree(tmp_path)
    for die in (0, 1):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", energy_uj=10**9)
        tree.zone(f"intel-rapl:{die}/intel-rapl:{die}:0", "core", energy_uj=(1 + die) * 10**9)
    return tree


class Machine:
    """The source on a clock that stands still while it reads."""

    def __init__(self, tree, monkeypatch):
        self.tree, self.clock = tree, Clock()
        monkeypatch.setattr("services.power.zone_meter.time", self.clock)
        self.begin_ns = self.clock.now_ns
        self.seen = {}  # the newest row of each (zone, index, epoch)
        self.source = self.opened(Former())

    def opened(self, former):
        return open_source(PowerSettings(path_sysfs=self.tree.sysfs), former, self.clock.now_ns)

    def second(self, *unreadable):
        self.clock.advance(1)
        passed_s = (self.clock.now_ns - self.begin_ns) // S
        for die in (0, 1):
            path = f"intel-rapl:{die}"
            if die in unreadable:
                (self.tree.powercap / path / "energy_uj").write_text("", encoding="ascii")
            else:
                self.tree.set(path, 10**9 + passed_s * 68_000_000)
            self.tree.set(f"{path}/{path}:0", (1 + die) * 10**9 + passed_s * (2 + die) * 1_000_000)
        readings = self.source.read(self.clock.now_ns)
        for row in readings.rows:
            key = (row.zone.name, row.zone.index, row.epoch)
            assert row.energy_uj >= self.seen.get(key, 0)
            self.seen[key] = row.energy_uj
        assert list(table(readings.rows, 0).zone) == sorted(row.zone.name for row in readings.rows)
        return readings

    def total_uj(self, name):
        return sum(energy_uj for (zone, _index, _epoch), energy_uj in self.seen.items() if zone == name)


@pytest.fixture
def machine(dies, monkeypatch):
    machine = Machine(dies, monkeypatch)
    yield machine
    machine.source.close()


def test_mirrored_dies_are_one_package(machine):
    """68 W and not 136, from the first reading on; said once, and the second one is absent, with a reason."""
    notes = [note for _second in range(20) for note in machine.second().notes]
    assert machine.total_uj("package") == 20 * 68_000_000
    assert machine.total_uj("core") == 20 * 5_000_000
    (said,) = (note for note in notes if note.event == "zone_mirror")
    assert "package 0-die-1 shows the counter of package 0-die-0" in said.cause
    readings = machine.second()
    assert [(one.zone, one.index, one.why) for one in readings.absent] == [("package", "0-die-1", "mirror")]
    assert "package 0-die-0" in readings.absent[0].reason
    assert readings.state.up


def test_a_mirror_takes_over_without_loss_or_double_count(machine):
    """When the counted die can't be read, and also when it is back and the other one fails."""
    for _second in range(10):
        machine.second()
    for _second in range(10):
        readings = machine.second(0)
    assert {row.zone.index for row in readings.rows if row.zone.name == "package"} == {"0-die-1"}
    assert ("package", "0-die-0", "unreadable") in [(a.zone, a.index, a.why) for a in readings.absent]
    assert not readings.state.up
    for _second in range(10):
        readings = machine.second()
    assert [(a.zone, a.index, a.why) for a in readings.absent] == [("package", "0-die-0", "mirror")]
    for _second in range(10):
        machine.second(1)
    assert machine.total_uj("package") == 40 * 68_000_000


def test_a_zone_that_is_not_known_to_be_a_mirror_takes_no_part_over(machine):
    """Both are counted from their first readings, and only one once the leader is back: no energy is lost."""
    for _second in range(2):
        machine.second()
    for _second in range(10):
        machine.second(0)
    assert machine.total_uj("package") == (2 + 12) * 68_000_000
    for _second in range(10):
        readings = machine.second()
    assert [(a.zone, a.index, a.why) for a in readings.absent] == [("package", "0-die-0", "mirror")]
    for _second in range(10):
        machine.second(1)
    assert machine.total_uj("package") == (2 + 32) * 68_000_000


def test_a_counted_die_that_has_just_healed_does_not_count_the_others_time_again(machine):
    """The other one fails before they are known to be mirrors: it goes on from that one's last reading."""
    for _second in range(2):
        machine.second()
    for _second in range(100):
        machine.second(0)
    for _second in range(2):
        machine.second()
    for _second in range(10):
        machine.second(1)
    assert machine.total_uj("package") == (2 + 114) * 68_000_000


def test_a_die_that_heals_after_the_start_is_held(machine):
    """It stands first, but the other one is counted already; nothing counts twice, and the source is up."""
    machine.source.close()
    (machine.tree.powercap / "intel-rapl:0/energy_uj").write_text("", encoding="ascii")
    machine.source = machine.opened(Former())
    for _second in range(4):
        machine.second(0)
    for _second in range(62):
        readings = machine.second()
        assert [(a.zone, a.index, a.why) for a in readings.absent] == [("package", "0-die-0", "mirror")]
        assert readings.state.up
    assert machine.total_uj("package") == 66 * 68_000_000


def test_a_counted_die_that_heals_beside_its_mirror_is_held(machine):
    """After a restart in which it could not be read, and its mirror was counted instead."""
    for _second in range(10):
        readings = machine.second()
    machine.source.close()
    (machine.tree.powercap / "intel-rapl:0/energy_uj").write_text("", encoding="ascii")
    machine.source = machine.opened(Former(1, {row.zone: row for row in readings.rows}))
    for _second in range(5):
        machine.second(0)
    for _second in range(70):
        readings = machine.second()
    assert [(a.zone, a.index, a.why) for a in readings.absent] == [("package", "0-die-0", "mirror")]
    assert machine.total_uj("package") == 85 * 68_000_000


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    """Two packages whose counters stand at 0, and a function that sets them a second later and reads."""
    tree, clock = RaplTree(tmp_path), Clock()
    monkeypatch.setattr("services.power.zone_meter.time", clock)
    for number in (0, 1):
        tree.zone(f"intel-rapl:{number}", f"package-{number}")
    source = open_source(PowerSettings(path_sysfs=tree.sysfs), Former(), clock.now_ns)

    def second(*raw_uj):
        clock.advance(1)
        for number, raw in enumerate(raw_uj):
            tree.set(f"intel-rapl:{number}", raw)
        return source.read(clock.now_ns)

    yield second
    source.close()


def packages(readings):
    return {row.zone.index: row.energy_uj for row in readings.rows}


def test_a_package_beside_one_that_stands_still_is_counted(sockets):
    """All of its energy, from the first reading that tells them apart."""
    for second in range(1, 31):
        readings = sockets(0, second * 30_000_000)
        assert packages(readings) == {"0": 0, "1": second * 30_000_000}
        assert (readings.state.up, list(readings.absent)) == (True, [])


def test_two_packages_that_stand_still_are_shown_with_energy_0(sockets):
    """After some readings; while they may be one, the second is absent and shows no more."""
    seen = [sockets(0, 0) for _second in range(DECIDED_AFTER + 2)]
    assert [packages(readings) for readings in (seen[0], seen[-1])] == [{"0": 0}, {"0": 0, "1": 0}]
    assert [(one.index, one.why) for one in seen[-1].absent] == [("1", "mirror")]
    assert "may show the counter of package 0" in seen[-1].absent[0].reason
    assert seen[-1].state.up
    moved = [sockets(second * 1_000_000, second * 1_000_000) for second in range(1, DECIDED_AFTER)]
    assert [packages(readings)["1"] for readings in moved] == [0] * (DECIDED_AFTER - 1)
    apart = [sockets(second * 1_000_000, second * 31_000_000) for second in range(DECIDED_AFTER, 9)]
    assert packages(apart[-1]) == {"0": 8_000_000, "1": 8 * 31_000_000}


def test_the_die_that_was_counted_stays_so_after_a_restart(machine):
    """The energy of the pause is in its first reading, although it is not the first in order."""
    for _second in range(10):
        machine.second()
    for _second in range(3):
        readings = machine.second(0)
    machine.source.close()
    machine.source = machine.opened(Former(1, {row.zone: row for row in readings.rows}))
    for _second in range(10):
        machine.second()
    assert machine.total_uj("package") == 23 * 68_000_000


def test_a_zone_that_takes_over_begins_at_the_others_last_reading():
    """Its epoch is that reading's time, so that no time is covered twice."""
    found = RaplZone(DIES[0], None, RANGE_UJ), RaplZone(DIES[1], None, RANGE_UJ)
    counted, heir = (ZoneMeter(one, Former()) for one in found)
    counted.take(Reading(5 * S, 10**9), 4 * S)
    heir.take_over(counted)
    row, _note = heir.take(Reading(6 * S, 10**9 + 68_000_000), 6 * S)
    assert (row.epoch, row.energy_uj) == (5 * S, 68_000_000)
