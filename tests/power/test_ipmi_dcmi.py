# SPDX-License-Identifier: Apache-2.0
"""Power by IPMI as energy, and what goes wrong."""

import errno
from dataclasses import dataclass, field

import pytest

from services.power import ipmi_dcmi
from services.power.ipmi_dcmi_device import RECEIVE_MSG_TRUNC, SEND_COMMAND
from services.power.ipmi_dcmi_message import REQUEST, Answer
from services.power.needs import Needs
from services.power.settings import PowerSettings
from services.power.source import Former

from .test_ipmi_dcmi_message import READ_POWER, RESPONSE, answer
from .world import Clock, S

_LOOK_S, _STALE_S, _PERIOD_S = 60, 60, 5
ACTIVE = 0x40


@dataclass
class FakeBmc:
    """Answers what a test says; `takes_s`: how long it takes over it."""

    clock: Clock
    data: bytes | OSError = field(default_factory=answer)
    takes_s: float = 0
    asked: int = 0
    is_closed: bool = False

    def ask(self, network_function: int, command: int, data: bytes) -> Answer:
        assert (network_function, command, data) == (0x2C, 0x02, REQUEST)
        self.asked += 1
        self.clock.advance(self.takes_s)
        if isinstance(self.data, OSError):
            raise self.data
        return Answer(RESPONSE, READ_POWER, self.data)

    def close(self):
        self.is_closed = True


@dataclass
class World:
    """A machine with a BMC, and its source."""

    clock: Clock
    bmc: FakeBmc
    settings: PowerSettings
    source: object = None

    def start(self, before: Former | None = None):
        self.source = ipmi_dcmi.open_source(
            self.settings, before or Former(), self.clock.now_ns, open_bmc=lambda _path: self.bmc
        )
        return self

    def read(self, after_s: float = _PERIOD_S, current_w: int | None = None, **fields):
        self.clock.advance(after_s)
        if current_w is not None:
            self.bmc.data = answer(current_w, **fields)
        return self.source.read(self.clock.now_ns)


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    clock = Clock()
    monkeypatch.setattr(ipmi_dcmi, "time", clock)
    (tmp_path / "ipmi0").touch()
    return World(clock, FakeBmc(clock), PowerSettings(path_dev=tmp_path))


def test_power_is_integrated_as_trapezoids(world):
    """200 W, then 300 W 5 s later, then 100 W: 1250 J + 1000 J, and how far off that may be."""
    world.start()
    world.read(current_w=300)
    (row,) = world.read(current_w=100).rows
    assert (row.zone.name, row.zone.index, row.zone.provenance) == ("platform", "ipmi0", "measured")
    assert (row.energy_uj, row.integration_uj) == (2_250_000_000, 750_000_000)
    assert (row.period_ns, row.gaps) == (_PERIOD_S * S, 0)
    assert row.mono_ns == world.clock.now_ns


def test_a_sample_s_time_is_the_middle_of_asking(world):
    """A BMC that takes 2 s over its answer meant, at best, the middle of them."""
    world.bmc.takes_s = 2
    world.start()
    readings = world.read()
    assert readings.rows[0].mono_ns == world.clock.now_ns - S


def test_the_first_answer_is_used(world):
    """Finding out what the BMC can costs no command of its own."""
    world.start()
    assert world.bmc.asked == 1
    assert [row.energy_uj for row in world.source.read(world.clock.now_ns).rows] == [0]


@pytest.mark.parametrize(
    "fault",
    [
        b"\xc0",
        b"\xc3",
        b"\xc1",
        b"no DCMI at all, but long enough",
        answer(0),
        answer(0xFFFF),
        answer(30_000),
        answer(state=0),
        TimeoutError(errno.ETIMEDOUT, "expected a response"),
        OSError(errno.ENODEV, "No such device"),
    ],
)
def test_a_fault_is_said_and_costs_nothing(world, fault):
    """The row stays with its time, the source isn't up, and the line is drawn across two lost answers."""
    world.start()
    before = world.read(current_w=200)
    world.bmc.data = fault
    for _turn in range(2):
        readings = world.read()
        assert not readings.state.up
        assert readings.state.reason
        assert readings.rows[0].mono_ns == before.rows[0].mono_ns
    readings = world.read(current_w=200)
    assert readings.state.up
    assert (readings.rows[0].energy_uj, readings.rows[0].gaps) == (4 * 5 * 200_000_000, 0)


def test_a_long_silence_is_a_gap(world):
    """Power is not taken as known for longer than four periods."""
    world.start()
    world.read(current_w=200)
    world.bmc.data = b"\xc3"
    for _turn in range(5):
        world.read()
    (row,) = world.read(current_w=200).rows
    assert (row.energy_uj, row.gaps) == (1_000_000_000, 1)


def test_a_figure_that_is_not_renewed_is_no_new_reading(world):
    """A BMC that samples every 20 s: its figure counts from when it showed it, over its own time."""
    world.bmc.data = answer(100, bmc_s=1000)
    world.start()
    times = [world.read(current_w=100, bmc_s=1000).rows[0].mono_ns for _turn in range(3)]
    assert len(set(times)) == 1
    (row,) = world.read(current_w=300, bmc_s=1020).rows
    assert (row.energy_uj, row.gaps) == (20 * 200_000_000, 0)


def test_a_bmc_that_shows_the_same_for_a_minute_is_stale(world):
    """A frozen figure with a frozen time is no power of now: the zone is absent, with the reason."""
    world.bmc.data = answer(100, bmc_s=1000)
    world.start()
    for _turn in range(_STALE_S // _PERIOD_S):
        assert world.read().state.up
    readings = world.read()
    assert "the same reading, of its time 1000, for 65 s" in readings.state.reason
    assert [(one.zone, one.index) for one in readings.absent] == [("platform", "ipmi0")]


def test_a_bmc_whose_clock_stands_is_read_all_the_same(world):
    """Figures that change under one time show that the time means nothing."""
    world.bmc.data = answer(100, bmc_s=1000)
    world.start()
    world.read(current_w=101, bmc_s=1000)
    for _turn in range(20):
        readings = world.read(current_w=101, bmc_s=1000)
        assert readings.state.up
        assert readings.rows[0].mono_ns == world.clock.now_ns


def test_a_bmc_without_the_command_is_no_meter(world):
    """There is one reason and no absent zone; a minute later, say after an update, it is asked again."""
    world.bmc.data = b"\xc1"
    world.start()
    readings = world.read()
    assert (readings.rows, readings.absent) == ([], [])
    assert "doesn't know DCMI" in readings.state.reason
    assert world.bmc.asked == 1
    assert world.bmc.is_closed
    world.read(_LOOK_S, current_w=100)
    assert world.read(current_w=100).rows[0].energy_uj == 500_000_000


def test_a_device_that_goes_and_comes_back(world):
    """The zone goes with its device, and goes on when it is back: the time in between is a gap."""
    world.start()
    world.read(current_w=200)
    path = world.settings.path_dev / "ipmi0"
    path.unlink()
    world.bmc.data = OSError(errno.ENODEV, "No such device")
    world.read()
    readings = world.read()
    assert (readings.rows, readings.state.up) == ([], False)
    assert "modprobe ipmi_si" in readings.state.reason
    (path.parent / "ipmi").mkdir()
    (path.parent / "ipmi" / "0").touch()
    world.read(_LOOK_S, current_w=200)
    (row,) = world.read(current_w=200).rows
    assert (row.energy_uj, row.gaps) == (2_000_000_000, 1)


def test_a_restart_goes_on(world):
    """A short pause is bridged like any other; the epoch stays."""
    world.start()
    (row,) = world.read(current_w=200).rows
    world.clock.advance(5)
    world.start(Former(row.epoch, {row.zone: row}, 0, row.mono_ns))
    (row,) = world.read(current_w=200).rows
    assert (row.energy_uj, row.gaps, world.source.resumed) == (3_000_000_000, 0, True)


def test_needs_and_period(world, tmp_path_factory):
    """The device asks for the right to read it; without one nothing is asked for."""
    ioctls = (SEND_COMMAND, RECEIVE_MSG_TRUNC)
    assert ipmi_dcmi.needs(world.settings) == Needs(("CAP_DAC_READ_SEARCH",), ioctls=ioctls)
    assert ipmi_dcmi.needs(PowerSettings(path_dev=tmp_path_factory.mktemp("none"))) == Needs()
    assert ipmi_dcmi.period_ns(world.settings) == 5 * S
    assert ipmi_dcmi.period_ns(PowerSettings(ipmi_period_s=20.0)) == 20 * S
