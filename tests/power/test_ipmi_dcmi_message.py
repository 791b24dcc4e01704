# SPDX-License-Identifier: Apache-2.0
"""Messages of a BMC, packed as it packs them, and garbage."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power.ipmi_dcmi_message import Answer, NoMeterError, PowerReading, parse

DCMI, RESPONSE, READ_POWER = 0xDC, 0x2D, 0x02
ACTIVE = 0x40


def answer(current_w: int = 200, *, bmc_s: int = 0xFFFFFFFF, state: int = ACTIVE, code: int = 0) -> bytes:
    """What a BMC answers, byte for byte."""
    return struct.pack("<BBHHHHIIB", code, DCMI, current_w, 90, 400, 210, bmc_s, 1000, state)


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
