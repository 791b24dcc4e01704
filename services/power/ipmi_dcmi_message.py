# SPDX-License-Identifier: Apache-2.0
"""The DCMI command Get Power Reading: its request, its response, and what errors mean. Pure.

Sources: DCMI specification 1.5, 6.6.1 "Get Power Reading"; IPMI specification 2.0, table 5-2 "Completion
Codes" and chapter 37 "Timestamp Format".
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

NETWORK_FUNCTION, COMMAND = 0x2C, 0x02  # group extension; Get Power Reading
_RESPONSE = NETWORK_FUNCTION + 1
_DCMI = 0xDC  # the group that the extension is of
_SYSTEM_POWER = 0x01  # mode: statistics of the whole system
REQUEST = bytes([_DCMI, _SYSTEM_POWER, 0, 0])

# Completion code, group, current, minimum, maximum, average (W), time stamp (s), period (ms), state.
_ANSWER = struct.Struct("<BBHHHHIIB")
_IS_ACTIVE = 1 << 6
_NO_TIME = frozenset({0, 0xFFFFFFFF})
_UNKNOWN_W = frozenset({0, 0xFFFF})  # a machine that runs uses something, and none uses 65 kW
_NEVER = {
    0xC1: "the BMC doesn't know DCMI's power reading",
    0xC9: "the BMC has no statistics of system power",
    0xCC: "the BMC has no statistics of system power",
    0xD4: "the BMC refuses its system interface: allow DCMI in its settings",
    0xD6: "power readings are turned off in the BMC: turn them on in its settings",
}
_LATER = {
    0xC0: "the BMC is busy",
    0xC3: "the BMC timed out",
    0xC4: "the BMC is out of space",
    0xCB: "the power meter isn't there now",
    0xCE: "the BMC has no answer now",
    0xD1: "the BMC's firmware is being updated",
    0xD2: "the BMC is starting",
    0xD3: "the power meter can't be reached",
    0xD5: "not possible in the BMC's present state",
    0xFF: "an error that the BMC doesn't specify",
}


class Answer(NamedTuple):
    """A response as the driver hands it over. `data` begins with the completion code."""

    network_function: int
    command: int
    data: bytes


class NoMeterError(ValueError):
    """The BMC can't read power, now or later."""


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Power of the whole system, in W.

    The minimum, maximum and average are those of the BMC's own period of `period_ms`. `bmc_s`: the BMC's time
    of the reading, in s since 1970 or since its start; None if it has none.
    """

    current_w: int
    minimum_w: int
    maximum_w: int
    average_w: int
    bmc_s: int | None
    period_ms: int


def parse(answer: Answer) -> PowerReading:
    """Return the reading of an answer. Raises NoMeterError, or ValueError for any other fault."""
    expected = (_RESPONSE, COMMAND)
    if (answer.network_function, answer.command) != expected:
        raise ValueError(
            f"expected the response to network function {NETWORK_FUNCTION:#x}, command {COMMAND:#x}, got "
            f"{answer.network_function:#x}, {answer.command:#x}"
        )
    if not answer.data:
        raise ValueError("expected a completion code, got an empty response")
    code = answer.data[0]
    if code in _NEVER:
        raise NoMeterError(f"{_NEVER[code]} (completion code {code:#x})")
    if code:
        raise ValueError(f"{_LATER.get(code, 'the BMC refused the command')} (completion code {code:#x})")
    if len(answer.data) < _ANSWER.size or answer.data[1] != _DCMI:
        raise ValueError(
            f"expected {_ANSWER.size} bytes of group {_DCMI:#x}, got {answer.data[:32].hex(' ')}"
        )
    _code, _group, current, minimum, maximum, average, bmc_s, period_ms, state = _ANSWER.unpack_from(
        answer.data
    )
    if not state & _IS_ACTIVE:
        raise ValueError("power measurement is not active in the BMC: turn it on in its settings")
    if current in _UNKNOWN_W:
        raise ValueError(f"expected the power of a machine that runs, got {current} W")
    return PowerReading(current, minimum, maximum, average, None if bmc_s in _NO_TIME else bmc_s, period_ms)
