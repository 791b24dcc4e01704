# SPDX-License-Identifier: Apache-2.0
"""The kernel's IPMI device: layouts, ioctls, and responses that are late, foreign or missing."""

import ctypes
import errno
import os
import select
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.power import ipmi_dcmi_device
from services.power.ipmi_dcmi_device import (
    RECEIVE_MSG_TRUNC,
    SEND_COMMAND,
    Address,
    IpmiDevice,
    Message,
    Received,
    Request,
)
from services.power.ipmi_dcmi_message import REQUEST, parse

from .test_ipmi_dcmi_message import answer
from .world import Clock, S


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
