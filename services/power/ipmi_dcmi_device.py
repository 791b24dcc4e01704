# SPDX-License-Identifier: Apache-2.0
"""A BMC behind the kernel's IPMI device, by ioctl.

Sources: include/uapi/linux/ipmi.h and drivers/char/ipmi/ipmi_devintf.c, Linux 6.1. The driver doesn't look at
how the file was opened, so the right to read it is enough.
"""

import ctypes
import errno
import fcntl
import os
import select
import time
from pathlib import Path
from typing import Protocol

from .ipmi_dcmi_message import Answer

_MESSAGE_BYTES_MAX = 272  # include/uapi/linux/ipmi_msgdefs.h, IPMI_MAX_MSG_LENGTH
_SYSTEM_INTERFACE, _BMC_CHANNEL = 0x0C, 0x0F
_IS_RESPONSE = 1  # IPMI_RESPONSE_RECV_TYPE
_NS_PER_MS = 1_000_000
_MSGID_MAX = 2**31 - 1


class Address(ctypes.Structure):
    """struct ipmi_system_interface_addr."""

    _fields_ = (("addr_type", ctypes.c_int), ("channel", ctypes.c_short), ("lun", ctypes.c_ubyte))


class Message(ctypes.Structure):
    """struct ipmi_msg."""

    _fields_ = (
        ("netfn", ctypes.c_ubyte),
        ("cmd", ctypes.c_ubyte),
        ("data_len", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    )


class Request(ctypes.Structure):
    """struct ipmi_req."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


class Received(ctypes.Structure):
    """struct ipmi_recv."""

    _fields_ = (
        ("recv_type", ctypes.c_int),
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


def _number(direction: int, number: int, size: int) -> int:
    """As _IOC makes it (include/uapi/asm-generic/ioctl.h)."""
    return direction << 30 | size << 16 | ord("i") << 8 | number


SEND_COMMAND = _number(2, 13, ctypes.sizeof(Request))  # _IOR
RECEIVE_MSG_TRUNC = _number(3, 11, ctypes.sizeof(Received))  # _IOWR


class Bmc(Protocol):
    """What can be asked: IpmiDevice, or a test's."""

    def ask(self, network_function: int, command: int, data: bytes) -> Answer:
        """Return the response. Raises OSError, TimeoutError among others."""

    def close(self) -> None:
        """Give the device up."""


class IpmiDevice:
    """The BMC behind one device file."""

    def __init__(self, path: Path, timeout_ns: int) -> None:
        """`timeout_ns`: how long to wait for a response."""
        self._path = path
        self._timeout_ns = timeout_ns
        self._descriptor: int | None = None
        self._msgid = 0

    def ask(self, network_function: int, command: int, data: bytes) -> Answer:
        """Send a command and wait for its response; older responses are thrown away."""
        deadline_ns = time.monotonic_ns() + self._timeout_ns
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._msgid = self._msgid % _MSGID_MAX + 1
            self._send(self._descriptor, network_function, command, data)
            return self._wait(self._descriptor, deadline_ns)
        except TimeoutError:
            raise  # a later answer has another number
        except OSError as error:
            self.close()
            code = error.errno or errno.EIO
            raise OSError(code, f"{os.strerror(code)}{_cure(code)}") from None

    def close(self) -> None:
        """Close the device."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _send(self, descriptor: int, network_function: int, command: int, data: bytes) -> None:
        address = Address(_SYSTEM_INTERFACE, _BMC_CHANNEL, 0)
        content = ctypes.create_string_buffer(data, len(data))
        message = Message(network_function, command, len(data), ctypes.addressof(content))
        request = Request(ctypes.addressof(address), ctypes.sizeof(address), self._msgid, message)
        fcntl.ioctl(descriptor, SEND_COMMAND, request)

    def _wait(self, descriptor: int, deadline_ns: int) -> Answer:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            if not poll.poll(left_ns // _NS_PER_MS + 1):
                continue
            received = _receive(descriptor)
            if received is not None and received[0] == self._msgid:
                return received[1]
        raise TimeoutError(
            errno.ETIMEDOUT, f"expected a response of the BMC within {self._timeout_ns / 1e9:.3g} s, got none"
        )


def _receive(descriptor: int) -> tuple[int, Answer] | None:
    """(number of the request, its response); None for anything else that the driver has for us."""
    address = ctypes.create_string_buffer(
        32
    )  # struct ipmi_addr: a type, a channel, and IPMI_MAX_ADDR_SIZE bytes
    content = ctypes.create_string_buffer(_MESSAGE_BYTES_MAX)
    message = Message(0, 0, _MESSAGE_BYTES_MAX, ctypes.addressof(content))
    received = Received(0, ctypes.addressof(address), len(address), 0, message)
    try:
        fcntl.ioctl(descriptor, RECEIVE_MSG_TRUNC, received)
    except BlockingIOError:  # no message after all
        return None
    if received.recv_type != _IS_RESPONSE:
        return None
    answer = Answer(received.msg.netfn, received.msg.cmd, content.raw[: received.msg.data_len])
    return received.msgid, answer


def _cure(code: int) -> str:
    match code:
        case errno.EACCES | errno.EPERM:
            return " (the device is root's: power needs CAP_DAC_READ_SEARCH, and its container the device)"
        case errno.ENODEV | errno.ENXIO | errno.ENOENT:
            return " (the BMC's driver is gone: `modprobe ipmi_si ipmi_devintf`)"
        case errno.EBUSY | errno.EAGAIN:
            return " (the driver is busy; the next reading tries again)"
    return ""
