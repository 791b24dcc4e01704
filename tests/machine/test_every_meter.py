# SPDX-License-Identifier: Apache-2.0
"""The fake machine with every kind of meter is checked itself: its law, and what its files show."""

import errno
import os
import re
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .every_meter import EveryMeter
from .every_meter_tree import HALF_NS, PACKAGE

LAW = PACKAGE[0]


@pytest.fixture
def machine(tmp_path):
    with EveryMeter(tmp_path / "machine") as machine:
        yield machine


def number(path):
    return int(re.findall(r"\d+", path.read_text(encoding="ascii"))[0])


@given(st.integers(0, 10 * HALF_NS), st.integers(0, 2 * HALF_NS))
def test_energy_is_the_integral_of_power(begin_ns, length_ns):
    """Energy between two times lies between the least and the greatest power times the time."""
    energy_uj = LAW.energy_uj(begin_ns + length_ns) - LAW.energy_uj(begin_ns)
    high_uw = LAW.low_uw + LAW.swing_uw
    assert LAW.low_uw * length_ns // 10**9 - 1 <= energy_uj <= high_uw * length_ns // 10**9 + 1


@given(st.integers(0, 6 * HALF_NS))
def test_energy_of_a_short_time_is_its_power(begin_ns):
    """Within a millisecond the law's power hardly changes."""
    energy_uj = LAW.energy_uj(begin_ns + 1_000_000) - LAW.energy_uj(begin_ns)
    assert abs(energy_uj - LAW.power_uw(begin_ns) // 1000) <= 5


def test_what_is_served_is_what_the_log_says(machine):
    """A counter's difference between two readings is the law's, to the microjoule."""
    path = "/class/powercap/intel-rapl:1/intel-rapl:1:0/energy_uj"
    file = machine.sysfs / path[1:]
    first_uj = number(file)
    time.sleep(0.05)
    last_uj = number(file)
    log = machine.log()[path]
    assert log["reads"] == 2
    assert last_uj - first_uj == log["last_uj"] - log["first_uj"][0] > 0


def test_registers_answer_at_their_offsets(machine):
    """A register is read at its number as the offset; one that isn't there gives EIO."""
    descriptor = os.open(machine.sysfs / "dev/cpu/1/msr", os.O_RDONLY)
    try:
        (units,) = struct.unpack("<Q", os.pread(descriptor, 8, 0x606))
        (before,) = struct.unpack("<Q", os.pread(descriptor, 8, 0x611))
        time.sleep(0.05)
        (after,) = struct.unpack("<Q", os.pread(descriptor, 8, 0x611))
        with pytest.raises(OSError, match="Input/output error") as raised:
            os.pread(descriptor, 8, 0x639)
    finally:
        os.close(descriptor)
    assert units >> 8 & 0x1F == 14
    assert 40 * 0.05 < (after - before) / 2**14 < 90 * 0.5
    assert raised.value.errno == errno.EIO


def test_meters_fail_hide_and_freeze(machine):
    """The control file fails and heals files, hides and shows them, and ends the flow of energy."""
    gauge = machine.sysfs / "class/hwmon/hwmon1/power1_average"
    assert 150_000_000 <= number(gauge) <= 280_000_000
    machine.fail("/class/hwmon/hwmon1", "EIO")
    with pytest.raises(OSError, match="Input/output error"):
        gauge.read_text(encoding="ascii")
    machine.heal("/class/hwmon/hwmon1")
    machine.hide("/cray")
    assert not (machine.sysfs / "cray/pm_counters").exists()
    machine.show("/cray")
    machine.freeze()
    counter = machine.sysfs / "cray/pm_counters/energy"
    assert number(counter) == number(counter)
    assert number(gauge) == 0
