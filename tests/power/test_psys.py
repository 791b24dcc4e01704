# SPDX-License-Identifier: Apache-2.0
"""The whole machine's rows that are made of RAPL's psys rows."""

from services.power.psys import STILL_MAX, Psys
from services.power.source import Former

from .fake_source import former_of, row
from .world import Clock, S

J = 1_000_000


class Machine:
    """RAPL rows whose energy a test sets, and psys made of them."""

    def __init__(self, former=None):
        self.clock = Clock()
        self.begun_ns = self.clock.now_ns
        self.uj = {("package", "0"): 0, ("psys", "psys"): 0}
        self.source = "rapl-sysfs"
        self.psys = Psys(former or Former())

    def rapl(self):
        return [
            row(self.clock, *zone, source=self.source, epoch=self.begun_ns, energy_uj=uj, raw=uj, gaps=0)
            for zone, uj in self.uj.items()
        ]

    def tick(self, package_j=0, psys_j=0):
        self.clock.advance(1)
        self.uj["package", "0"] += package_j * J
        self.uj["psys", "psys"] += psys_j * J
        self.psys.on_rows(self.rapl())
        return self.psys.read(self.clock.now_ns)


def test_the_row_is_that_of_psys():
    """Zone platform with psys' index, energy, time and raw figure."""
    machine = Machine()
    (got,) = machine.tick(5, 9).rows
    assert (got.zone.name, got.zone.index, got.zone.source) == ("platform", "psys", "psys")
    assert (got.energy_uj, got.raw, got.mono_ns, got.epoch) == (
        9 * J,
        9 * J,
        machine.clock.now_ns,
        machine.begun_ns,
    )
    assert machine.psys.zones == [got.zone]


def test_a_counter_that_stands_still_gives_no_row():
    """Most boards don't wire it: packages go on and it doesn't. Such a machine has no source psys."""
    machine = Machine()
    for _second in range(10):
        readings = machine.tick(5, 0)
        assert readings.rows == []
        assert readings.nothing_found
        assert not readings.state.up
    assert "stands still while packages go on" in readings.state.reason
    assert machine.psys.zones == []


def test_a_quiet_moment_is_not_taken_for_a_missing_wire():
    """Only readings in which a package advanced count, and three in a row."""
    machine = Machine()
    machine.tick(5, 9)
    assert all(machine.tick(0, 0).rows for _second in range(10))
    assert all(machine.tick(5, 0).rows for _second in range(STILL_MAX - 1))
    readings = machine.tick(5, 0)
    assert readings.rows == []
    assert [note.event for note in readings.notes] == ["zone_skipped"]
    assert machine.tick(5, 0).notes == []
    (got,) = machine.tick(5, 40).rows
    assert got.energy_uj == 49 * J  # none is lost when it goes on


def test_without_the_zone_there_is_no_source():
    """Servers have no psys."""
    machine = Machine()
    del machine.uj["psys", "psys"]
    machine.psys.on_rows(machine.rapl())
    readings = machine.psys.read(machine.clock.now_ns)
    assert readings.nothing_found
    assert readings.state.reason == "RAPL shows no zone psys here"


def test_a_restart_goes_on_where_the_rows_agree():
    """Former rows of one reading: same epoch, same energy and on."""
    machine = Machine()
    (before,) = machine.tick(5, 9).rows
    machine.psys = Psys(former_of([before, *machine.rapl()]))
    assert machine.psys.resumed
    (after,) = machine.tick(5, 1).rows
    assert (after.epoch, after.energy_uj) == (before.epoch, 10 * J)


def test_energy_of_an_earlier_series_is_not_counted_again():
    """Where RAPL has gone on and psys' own row is missing, it begins at 0, now."""
    machine = Machine()
    machine.tick(5, 9)
    machine.psys = Psys(former_of(machine.rapl()))
    assert not machine.psys.resumed
    machine.tick(5, 1)
    first_ns = machine.clock.now_ns
    (got,) = machine.tick(5, 3).rows
    assert (got.energy_uj, got.epoch) == (3 * J, first_ns)


def test_another_meter_of_the_counter_begins_another_series():
    """If RAPL is read in another way, whose count is its own, no energy comes twice."""
    machine = Machine()
    (before,) = machine.tick(5, 9).rows
    machine.source = "rapl-perf"
    machine.tick(5, 1)
    (after,) = machine.tick(5, 2).rows
    assert after.energy_uj == 2 * J
    assert after.epoch > before.mono_ns


def test_the_preferred_meter_of_the_counter_is_used():
    """Two ways to read one counter are no two platforms."""
    machine = Machine()
    machine.tick()
    machine.clock.advance(1)
    zone = ("psys", "psys")
    rows = [
        row(machine.clock, *zone, source="rapl-msr", rank=2, energy_uj=70 * J, epoch=machine.begun_ns),
        row(machine.clock, *zone, source="rapl-sysfs", rank=0, energy_uj=3 * J, epoch=machine.begun_ns),
    ]
    machine.psys.on_rows(rows)
    (got,) = machine.psys.read(machine.clock.now_ns).rows
    assert got.energy_uj == 3 * J


def test_all_series_begin_again():
    """After an estimate the energy of before is not in the new series."""
    machine = Machine()
    machine.tick(5, 9)
    machine.psys.begin_again()
    machine.begun_ns, machine.uj["psys", "psys"] = machine.clock.now_ns + S, 0
    machine.tick(5, 0)
    (got,) = machine.tick(5, 2).rows
    assert (got.energy_uj, got.epoch) == (2 * J, machine.begun_ns)
