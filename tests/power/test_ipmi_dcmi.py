# SPDX-License-Identifier: Apache-2.0
"""Power by IPMI: answers packed as a BMC packs them, the kernel's ioctls, and what goes wrong."""

import ctypes
import errno
import os
import select
import struct
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power import ipmi_dcmi, ipmi_dcmi_device
from services.power.ipmi_dcmi_device import (
    RECEIVE_MSG_TRUNC,
    SEND_COMMAND,
    Address,
    IpmiDevice,
    Message,
    Received,
    Request,
)
from services.power.ipmi_dcmi_message import REQUEST, Answer, NoMeterError, PowerReading, parse
from services.power.needs import Needs
from services.power.settings import PowerSettings
from services.power.source import Former

from .world import Clock, S

_LOOK_S, _STALE_S, _PERIOD_S = 60, 60, 5
DCMI, RESPONSE, READ_POWER = 0xDC, 0x2D, 0x02
ACTIVE = 0x40


def answer(current_w: int = 200, *, bmc_s: int = 0xFFFFFFFF, state: int = ACTIVE, code: int = 0) -> bytes:
    """What a BMC answers, byte for byte."""
    return struct.pack("<BBHHHHIIB", code, DCMI, current_w, 90, 400, 210, bmc_s, 1000, state)


# Messages.


def test_a_recorded_answer_is_understood():
    """Bytes as ipmitool shows them: 214 W now, 2 to 468 W, 184 W on average over 1000 ms."""
    data = bytes.fromhex("00 dc d6 00 02 00 d4 01 b8 00 64 8f 37 66 e8 03 00 00 40")
    assert parse(Answer(RESPONSE, READ_POWER, data)) == PowerReading(214, 2, 468, 184, 0x66378F64, 1000)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty response"),
        (answer()[:-1], "expected 19 bytes"),
        (answer().replace(b"\xdc", b"\x2e"), "of group 0xdc"),
        (answer(state=0), "not active"),
        (answer(0), "got 0 W"),
        (answer(0xFFFF), "got 65535 W"),
        (b"\xc0", "busy"),
        (b"\xc3", "timed out"),
        (b"\xd2", "starting"),
        (b"\x99", "refused the command .completion code 0x99"),
    ],
)
def test_an_answer_that_is_no_reading(data, said):
    """Whatever is wrong is said; nothing becomes a number."""
    with pytest.raises(ValueError, match=said) as caught:
        parse(Answer(RESPONSE, READ_POWER, data))
    assert not isinstance(caught.value, NoMeterError)


@pytest.mark.parametrize(("network_function", "command"), [(0x2C, 0x02), (0x2D, 0x03), (0x07, 0x02)])
def test_an_answer_to_something_else(network_function, command):
    """A response is only that of the command that was sent."""
    with pytest.raises(ValueError, match="expected the response to"):
        parse(Answer(network_function, command, answer()))


@pytest.mark.parametrize("code", [0xC1, 0xC9, 0xCC, 0xD4, 0xD6])
def test_a_bmc_without_the_command(code):
    """These codes mean that no later reading will work either."""
    with pytest.raises(NoMeterError, match=f"completion code {code:#x}"):
        parse(Answer(RESPONSE, READ_POWER, bytes([code])))


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40))
def test_random_bytes_raise_only_the_one_error(network_function, command, data):
    """No answer breaks anything."""
    try:
        reading = parse(Answer(network_function, command, data))
    except ValueError:
        return
    assert 0 < reading.current_w < 0xFFFF


# The kernel's interface.


def test_layouts_and_numbers_are_the_kernel_s(tmp_path):
    """Sizes, offsets and ioctl numbers are those of the kernel's own header."""
    source = """
        #include <stddef.h>
        #include <stdio.h>
        #include <sys/ioctl.h>
        #include <linux/ipmi.h>
        #define SIZE(type) printf("%zu\\n", sizeof(struct type))
        #define AT(type, member) printf("%zu\\n", offsetof(struct type, member))
        int main(void) {
            printf("%lu\\n", (unsigned long)IPMICTL_SEND_COMMAND);
            printf("%lu\\n", (unsigned long)IPMICTL_RECEIVE_MSG_TRUNC);
            SIZE(ipmi_system_interface_addr);
            AT(ipmi_system_interface_addr, channel); AT(ipmi_system_interface_addr, lun);
            SIZE(ipmi_msg); AT(ipmi_msg, netfn); AT(ipmi_msg, cmd);
            AT(ipmi_msg, data_len); AT(ipmi_msg, data);
            SIZE(ipmi_req); AT(ipmi_req, addr); AT(ipmi_req, addr_len);
            AT(ipmi_req, msgid); AT(ipmi_req, msg);
            SIZE(ipmi_recv); AT(ipmi_recv, recv_type); AT(ipmi_recv, addr); AT(ipmi_recv, addr_len);
            AT(ipmi_recv, msgid); AT(ipmi_recv, msg);
            printf("%d\\n%d\\n", IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL);
            return 0;
        }
    """
    (tmp_path / "layout.c").write_text(textwrap.dedent(source), encoding="ascii")
    subprocess.run(["gcc", "-o", tmp_path / "layout", tmp_path / "layout.c"], check=True)
    printed = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout

    def offsets(structure: type[ctypes.Structure], *names: str) -> list[int]:
        return [ctypes.sizeof(structure), *(getattr(structure, name).offset for name in names)]

    ours = [SEND_COMMAND, RECEIVE_MSG_TRUNC]
    ours += offsets(Address, "channel", "lun")
    ours += offsets(Message, "netfn", "cmd", "data_len", "data")
    ours += offsets(Request, "addr", "addr_len", "msgid", "msg")
    ours += offsets(Received, "recv_type", "addr", "addr_len", "msgid", "msg")
    ours += [0x0C, 0x0F]
    assert [int(line) for line in printed.split()] == ours


@dataclass
class FakeDriver:
    """Stands in for the kernel's driver: takes requests apart as it does, and queues what a test wants.

    `respond`: from a request's number, network function, command and data to the messages that become ready,
    each (type, number, network function, command, data).
    """

    respond: Callable[[int, int, int, bytes], list[tuple[int, int, int, int, bytes]]]
    queue: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    error: int = 0
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)

    def ioctl(self, descriptor: int, number: int, structure: ctypes.Structure) -> int:
        assert os.get_inheritable(descriptor) is False
        if self.error:
            raise OSError(self.error, "")
        if number == SEND_COMMAND:
            assert isinstance(structure, Request)
            address = Address.from_address(structure.addr)
            assert (address.addr_type, address.channel, address.lun) == (0x0C, 0x0F, 0)
            assert structure.addr_len == ctypes.sizeof(Address)
            data = ctypes.string_at(structure.msg.data, structure.msg.data_len)
            self.sent.append((structure.msg.netfn, structure.msg.cmd, data))
            self.queue += self.respond(structure.msgid, structure.msg.netfn, structure.msg.cmd, data)
            return 0
        assert number == RECEIVE_MSG_TRUNC
        assert isinstance(structure, Received)
        if not self.queue:
            raise OSError(errno.EAGAIN, "")
        kind, msgid, network_function, command, data = self.queue.pop(0)
        assert structure.addr_len >= ctypes.sizeof(Address)
        assert structure.msg.data_len >= len(data)
        ctypes.memmove(structure.msg.data, data, len(data))
        structure.recv_type, structure.msgid = kind, msgid
        structure.msg.netfn, structure.msg.cmd, structure.msg.data_len = network_function, command, len(data)
        return 0

    def wait(self, timeout_ms: int) -> list[tuple[int, int]]:
        if self.queue:
            return [(0, select.POLLIN)]
        self.clock.now_ns += timeout_ms * 1_000_000
        return []


class FakePoll:
    """Stands in for the module `select`."""

    POLLIN = select.POLLIN

    def __init__(self, driver: FakeDriver):
        self.driver = driver

    def poll(self):
        driver = self.driver

        class Poll:
            def register(self, descriptor: int, events: int):
                assert (descriptor > 2, events) == (True, select.POLLIN)

            def poll(self, timeout_ms: int):
                return driver.wait(timeout_ms)

        return Poll()


@pytest.fixture
def driven(monkeypatch, tmp_path):
    """A device file whose ioctls a test's driver answers."""

    def make(respond) -> tuple[FakeDriver, IpmiDevice]:
        driver = FakeDriver(respond)
        monkeypatch.setattr(ipmi_dcmi_device.fcntl, "ioctl", driver.ioctl)
        monkeypatch.setattr(ipmi_dcmi_device, "select", FakePoll(driver))
        monkeypatch.setattr(ipmi_dcmi_device, "time", driver.clock)
        (tmp_path / "ipmi0").touch()
        return driver, IpmiDevice(tmp_path / "ipmi0", 4 * S)

    return make


def test_a_command_and_its_response_over_the_device(driven):
    """What is sent is DCMI's Get Power Reading, and the response is handed over byte for byte."""
    driver, device = driven(lambda msgid, netfn, cmd, _data: [(1, msgid, netfn + 1, cmd, answer(321))])
    assert parse(device.ask(0x2C, 0x02, REQUEST)).current_w == 321
    assert driver.sent == [(0x2C, 0x02, bytes([0xDC, 1, 0, 0]))]
    device.close()


def test_older_responses_and_events_are_thrown_away(driven):
    """Only the response with the request's own number counts, whatever else is queued before it."""

    def respond(msgid, netfn, cmd, _data):
        own = (1, msgid, netfn + 1, cmd, answer(3))
        return [(1, msgid - 1, netfn + 1, cmd, answer(1)), (2, msgid, netfn + 1, cmd, answer(2)), own]

    driver, device = driven(respond)
    assert [parse(device.ask(0x2C, 0x02, REQUEST)).current_w for _turn in range(3)] == [3, 3, 3]
    assert driver.queue == []
    device.close()


def test_a_response_that_never_comes(driven):
    """After 4 s there is an error, and a late response isn't taken for the next one's."""
    driver, device = driven(lambda *_request: [])
    began_ns = driver.clock.now_ns
    with pytest.raises(TimeoutError, match="within 4 s"):
        device.ask(0x2C, 0x02, REQUEST)
    assert 4 * S <= driver.clock.now_ns - began_ns < 4.1 * S
    driver.queue.append((1, 1, 0x2D, 2, answer(111)))
    driver.respond = lambda msgid, netfn, cmd, _data: [(1, msgid, netfn + 1, cmd, answer(222))]
    assert parse(device.ask(0x2C, 0x02, REQUEST)).current_w == 222
    device.close()


def test_other_messages_without_end_do_not_hold_up(driven):
    """A flood of foreign messages ends at the deadline as well."""
    driver, device = driven(lambda *_request: [])

    class Flood(list):
        def pop(self, _place=0):
            driver.clock.now_ns += S // 10
            return (2, 0, 0, 0, b"")

        def __bool__(self):
            return True

    driver.queue = Flood()
    driver.respond = lambda *_request: []
    with pytest.raises(TimeoutError):
        device.ask(0x2C, 0x02, REQUEST)
    device.close()


def test_a_driver_that_goes_is_opened_again(driven):
    """ENODEV closes the device; once the driver is back, the next command works."""
    driver, device = driven(lambda msgid, netfn, cmd, _data: [(1, msgid, netfn + 1, cmd, answer(5))])
    driver.error = errno.ENODEV
    with pytest.raises(OSError, match="modprobe ipmi_si"):
        device.ask(0x2C, 0x02, REQUEST)
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(link.resolve()).endswith("/ipmi0")]
    driver.error = 0
    assert parse(device.ask(0x2C, 0x02, REQUEST)).current_w == 5
    device.close()


def test_a_real_device_that_is_none(tmp_path):
    """The kernel's own refusal of these ioctls on another file is an error with its number."""
    (tmp_path / "ipmi0").touch()
    device = IpmiDevice(tmp_path / "ipmi0", S)
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        device.ask(0x2C, 0x02, REQUEST)
    with pytest.raises(OSError, match="modprobe"):
        IpmiDevice(tmp_path / "none", S).ask(0x2C, 0x02, REQUEST)


# The source.


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
    assert ipmi_dcmi.needs(world.settings) == Needs(("CAP_DAC_READ_SEARCH",))
    assert ipmi_dcmi.needs(PowerSettings(path_dev=tmp_path_factory.mktemp("none"))) == Needs()
    assert ipmi_dcmi.period_ns(world.settings) == 5 * S
    assert ipmi_dcmi.period_ns(PowerSettings(ipmi_period_s=20.0)) == 20 * S
