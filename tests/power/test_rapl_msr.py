# SPDX-License-Identifier: Apache-2.0
"""RAPL registers: live ones whose true energy is known, and ones that a test sets."""

import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power import msr_device, rapl_msr
from services.power.cpu_model import AMD, HYGON, INTEL, Processor
from services.power.needs import Needs
from services.power.rapl_msr_registers import AMD_UNIT, INTEL_UNIT, registers, unit_of
from services.power.settings import PowerSettings
from services.power.source import Former

from .perf_machine import PmuTree, write
from .simulated_msr import served, simulated_msr
from .world import S

SKYLAKE_SERVER, SKYLAKE, SAPPHIRE_RAPIDS, BROADWELL_D, SILVERMONT, FUTURE = 0x55, 0x5E, 0x8F, 0x56, 0x37, 0xEE
PKG, DRAM, CORE, UNCORE, PSYS, AMD_PKG, AMD_CORE = 0x611, 0x619, 0x639, 0x641, 0x64D, 0xC001029B, 0xC001029A
_LOOK_S = 10


def unit_register(shift: int) -> int:
    """With other bits set, that are units of power and time."""
    return 0xA0003 | shift << 8


@dataclass
class FakeOs:
    """Stands in for the module `os` in msr_device.py: registers by CPU, CPUs that fail."""

    registers: dict[int, dict[int, int]]
    failing: dict[int, int] = field(default_factory=dict)  # errno by CPU
    descriptors: dict[int, int] = field(default_factory=dict)  # CPU by descriptor
    reads: list[tuple[int, int]] = field(default_factory=list)

    O_RDONLY, O_CLOEXEC, strerror = os.O_RDONLY, os.O_CLOEXEC, staticmethod(os.strerror)

    def open(self, path: Path, flags: int) -> int:
        cpu = int(path.parts[-2])
        if cpu in self.failing:
            raise OSError(self.failing[cpu], "")
        assert flags == os.O_RDONLY | os.O_CLOEXEC
        descriptor = 100 + len(self.descriptors)
        self.descriptors[descriptor] = cpu
        return descriptor

    def pread(self, descriptor: int, size: int, register: int) -> bytes:
        cpu = self.descriptors[descriptor]
        self.reads.append((cpu, register))
        if cpu in self.failing:
            raise OSError(self.failing[cpu], "")
        if register not in self.registers[cpu]:
            raise OSError(errno.EIO, "")
        assert size == 8
        return self.registers[cpu][register].to_bytes(8, "little")

    def close(self, descriptor: int):
        assert descriptor in self.descriptors


def settings(sysfs: Path, devices: Path | None = None) -> PowerSettings:
    return PowerSettings(
        path_sysfs=sysfs,
        path_dev=devices or Path("/dev"),
        power_sources="rapl-sysfs,rapl-msr",
    )


def rows_of(readings):
    return {(row.zone.name, row.zone.index): row for row in readings.rows}


def start(monkeypatch, sysfs: Path, content: dict[int, dict[int, int]], now_ns: int = 1):
    fake = FakeOs(content)
    monkeypatch.setattr(msr_device, "os", fake)
    return fake, rapl_msr.open_source(settings(sysfs), Former(), now_ns)


# Registers that are live.


@pytest.mark.parametrize("vendor", [INTEL, AMD])
def test_energy_of_two_sockets_over_wraps_and_a_restart(tmp_path, vendor):
    """Each zone's energy is that of the law to the microjoule, while its counter wraps again and again."""
    shift = 22  # 1024 J a wrap
    watts = {0: 300, 1: 330}
    registers_of = {PKG: 1, DRAM: 0.5} if vendor == INTEL else {AMD_PKG: 1}
    config = {
        "cpus": [0, 0, 1, 1],
        "fixed": {INTEL_UNIT if vendor == INTEL else AMD_UNIT: unit_register(shift)},
        "counters": {
            package: {
                at: [2**32 - (50 << shift), int(power * share * 2**shift)]
                for at, share in registers_of.items()
            }
            for package, power in watts.items()
        },
    }
    tree = PmuTree(tmp_path / "sys")
    tree.cpus({0: (0, 0), 1: (0, 0), 2: (1, 0), 3: (1, 0)}, vendor, SKYLAKE, 6 if vendor == INTEL else 0x19)
    with simulated_msr(tmp_path / "dev", config) as devices:
        before, wraps = Former(), 0
        for _run in range(2):
            source = rapl_msr.open_source(settings(tree.sysfs, devices), before, time.monotonic_ns())
            deadline_s = time.monotonic() + 2
            while time.monotonic() < deadline_s:
                readings = source.read(time.monotonic_ns())
                time.sleep(0.02)
            source.close()
            rows = rows_of(readings)
            before = Former(1, {row.zone: row for row in readings.rows}, 0, 1)
        log = served(devices)
    names = {PKG: "package", DRAM: "dram", AMD_PKG: "package"}
    assert len(rows) == 2 * len(registers_of)
    for package, counters in log.items():
        for at, counts in counters.items():
            # The first count that was served was to find out whether there is a counter.
            energy_uj = (counts[-1] * 10**6 >> shift) - (counts[1] * 10**6 >> shift)
            assert rows[names[at], package].energy_uj == energy_uj
            assert rows[names[at], package].gaps == 0
            wraps += counts[-1] // 2**32
    assert wraps >= len(rows) + 2


@given(
    shift=st.integers(0, 31),
    steps=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30),
    at=st.integers(0, 2**32 - 1),
)
def test_wraps_add_up_without_a_rounding_error(shift, steps, at):
    """For every unit the range is whole in µJ: any number of wraps gives the energy of the total count."""
    unit = unit_of(Processor(INTEL, 6, SKYLAKE), "package", unit_register(shift))
    assert unit.range_uj << shift == 2**32 * 10**6
    total, energy_uj = at, 0
    for step in steps:
        last_uj = unit.energy_uj(total % 2**32)
        total += step
        gained_uj = unit.energy_uj(total % 2**32) - last_uj
        wrapped = total % 2**32 < (total - step) % 2**32
        energy_uj += gained_uj + (unit.range_uj if wrapped else 0)
    assert energy_uj == (total * 10**6 >> shift) - (at * 10**6 >> shift)


# Which registers, in which unit.


@pytest.mark.parametrize(
    ("model", "zone", "uj_per_1024_counts"),
    [
        (SKYLAKE_SERVER, "package", 62_500),  # by the unit register: 2⁻¹⁴ J
        (SKYLAKE_SERVER, "dram", 15_625),  # always 2⁻¹⁶ J on these servers
        (SKYLAKE, "dram", 62_500),
        (SAPPHIRE_RAPIDS, "dram", 62_500),  # no longer fixed
        (SAPPHIRE_RAPIDS, "psys", 1024 * 10**6),  # always 1 J
        (SKYLAKE, "psys", 62_500),
        (SILVERMONT, "package", 1024 << 14),  # 2ⁿ µJ
    ],
)
def test_units_of_intel(model, zone, uj_per_1024_counts):
    """The fixed units of dram and psys are those that the kernel's drivers use, by model."""
    assert unit_of(Processor(INTEL, 6, model), zone, unit_register(14)).energy_uj(1024) == uj_per_1024_counts


@pytest.mark.parametrize(
    ("processor", "zones"),
    [
        (Processor(INTEL, 6, SKYLAKE_SERVER), {"package", "dram", "core", "uncore", "psys"}),
        (Processor(INTEL, 6, BROADWELL_D), {"package", "core", "uncore", "psys"}),
        (Processor(INTEL, 6, SILVERMONT), {"package", "core", "uncore"}),
        (Processor(AMD, 0x19, 1), {"package"}),
        (Processor(HYGON, 0x18, 1), {"package"}),
    ],
)
def test_registers_of_a_processor(processor, zones):
    """A counter whose unit isn't known is left out, and says so; AMD's core is one core's, and left out."""
    found = registers(processor)
    assert set(found.zones) == zones
    assert AMD_CORE not in found.zones.values()
    assert bool(found.skipped) == (processor.vendor == INTEL and processor.model != SKYLAKE_SERVER)


@pytest.mark.parametrize(
    "processor",
    [
        None,
        Processor(INTEL, 6, FUTURE),
        Processor(INTEL, 0xF, 1),
        Processor(AMD, 0x15, 1),
        Processor(7, 6, 1),
    ],
)
def test_a_processor_without_known_registers(processor):
    """Nothing is read where no register is known."""
    assert registers(processor) is None


# Registers that a test sets.


def test_a_register_that_is_missing_or_zero_is_no_zone(tmp_path, monkeypatch):
    """EIO means that there is no such register; 0, that nothing has ever been counted: absence, not 0 J."""
    PmuTree(tmp_path).cpus({0: (0, 0), 1: (0, 0)}, INTEL, SKYLAKE)
    content = {INTEL_UNIT: unit_register(14), PKG: 1 << 14, DRAM: 0}
    fake, source = start(monkeypatch, tmp_path, {0: content, 1: content})
    assert [read for read in fake.reads if read[1] == UNCORE] == [(0, UNCORE)]  # no other CPU is asked
    readings = source.read(S)
    assert set(rows_of(readings)) == {("package", "0")}
    assert readings.state.up
    assert [note.cause for note in readings.notes if "dram" in note.cause and "shows 0" in note.cause]


def test_a_unit_of_zero_is_a_virtual_machine(tmp_path, monkeypatch):
    """A hypervisor that answers 0 to any register is not measured in units of 1 J."""
    PmuTree(tmp_path).cpus({0: (0, 0)}, INTEL, SKYLAKE)
    _fake, source = start(monkeypatch, tmp_path, {0: {INTEL_UNIT: 0, PKG: 5}})
    readings = source.read(S)
    assert readings.rows == []
    assert "shows 0: a virtual machine" in readings.state.reason


def test_indexes_are_those_of_sysfs(tmp_path, monkeypatch):
    """Two sockets with two dies each have four packages on Intel; psys is named as in sysfs."""
    places = {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}
    tree = PmuTree(tmp_path)
    tree.cpus(places, INTEL, SKYLAKE)
    content = {INTEL_UNIT: unit_register(14), PKG: 1 << 14, PSYS: 1 << 14}
    _fake, source = start(monkeypatch, tmp_path, dict.fromkeys(places, content))
    packages = {("package", index) for index in ("0-die-0", "0-die-1", "1-die-0", "1-die-1")}
    assert set(rows_of(source.read(S))) == packages | {("psys", "psys"), ("psys", "psys-1")}
    tree.cpus(places, AMD, 1, 0x19)
    content = {AMD_UNIT: unit_register(16), AMD_PKG: 1 << 16}
    _fake, source = start(monkeypatch, tmp_path, dict.fromkeys(places, content))
    assert set(rows_of(source.read(S))) == {("package", "0"), ("package", "1")}


def test_another_cpu_of_the_package_takes_over_at_once(tmp_path, monkeypatch):
    """The CPU that is read goes offline: the same reading comes from its neighbour, and nothing is lost."""
    PmuTree(tmp_path).cpus({0: (0, 0), 1: (0, 0), 2: (1, 0)}, INTEL, SKYLAKE)
    content = {INTEL_UNIT: unit_register(14), PKG: 1 << 14}
    registers_of = {cpu: dict(content) for cpu in range(3)}
    fake, source = start(monkeypatch, tmp_path, registers_of)
    fake.failing[0] = errno.ENXIO
    registers_of[1][PKG] += 2 << 14
    time.sleep(0.001)
    readings = source.read(S)
    assert (rows_of(readings)["package", "0"].energy_uj, readings.state.up) == (2_000_000, True)
    assert fake.reads[-2:] == [(1, PKG), (2, PKG)]


def test_a_package_without_a_cpu_online_is_absent(tmp_path, monkeypatch):
    """The reason is that of the first CPU; the row stays, and the next one has all the energy."""
    PmuTree(tmp_path).cpus({0: (0, 0)}, INTEL, SKYLAKE)
    registers_of = {0: {INTEL_UNIT: unit_register(14), PKG: 1 << 14}}
    fake, source = start(monkeypatch, tmp_path, registers_of)
    fake.failing[0] = errno.ENXIO
    readings = source.read(S)
    assert "the CPU is offline" in readings.state.reason
    assert [(one.zone, one.index) for one in readings.absent] == [("package", "0")]
    assert rows_of(readings)["package", "0"].energy_uj == 0
    del fake.failing[0]
    registers_of[0][PKG] += 3 << 14
    assert rows_of(source.read(2 * S))["package", "0"].energy_uj == 3_000_000


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOENT, "modprobe msr"),
        (errno.EPERM, "CAP_SYS_RAWIO"),
        (errno.EPERM, "lockdown"),
        (errno.EACCES, "CAP_DAC_READ_SEARCH"),
        (errno.ENXIO, "offline"),
    ],
)
def test_a_device_that_can_not_be_opened_names_the_cure(tmp_path, monkeypatch, code, cure):
    """Each refusal says which file, which register, and what to do."""
    PmuTree(tmp_path).cpus({0: (0, 0)}, INTEL, SKYLAKE)
    fake = FakeOs({0: {}}, {0: code})
    monkeypatch.setattr(msr_device, "os", fake)
    source = rapl_msr.open_source(settings(tmp_path), Former(), 1)
    reason = source.read(S).state.reason
    assert "/dev/cpu/0/msr: register 0x606" in reason
    assert cure in reason


def test_a_missing_module_is_said_by_the_real_file_system(tmp_path):
    """Without the msr module there is no file; with it later, the zones appear at the next look."""
    PmuTree(tmp_path / "sys").cpus({0: (0, 0)}, INTEL, SKYLAKE)
    devices = tmp_path / "dev"
    source = rapl_msr.open_source(settings(tmp_path / "sys", devices), Former(), 1)
    assert "modprobe msr" in source.read(S).state.reason
    msr = devices / "cpu" / "0" / "msr"
    write(msr, "")
    with msr.open("r+b") as file:
        for register, content in ((INTEL_UNIT, unit_register(14)), (PKG, 1 << 14)):
            file.seek(register)
            file.write(content.to_bytes(8, "little"))
    readings = source.read((_LOOK_S + 1) * S)
    assert ("package", "0") in rows_of(readings)
    source.close()


def test_registers_are_read_on_request_only(tmp_path, monkeypatch):
    """Unless power.sources names it, no device is opened and no right is asked for."""
    PmuTree(tmp_path).cpus({0: (0, 0)}, INTEL, SKYLAKE)
    fake = FakeOs({0: {INTEL_UNIT: unit_register(14), PKG: 1 << 14}})
    monkeypatch.setattr(msr_device, "os", fake)
    plain = PowerSettings(path_sysfs=tmp_path)
    readings = rapl_msr.open_source(plain, Former(), 1).read(S)
    assert (readings.rows, fake.descriptors) == ([], {})
    assert readings.state.reason == "used only if power.sources names rapl-msr"
    assert rapl_msr.needs(plain) == Needs()
    assert rapl_msr.needs(settings(tmp_path)) == Needs(("CAP_SYS_RAWIO", "CAP_DAC_READ_SEARCH"))


def test_a_machine_that_is_not_x86(tmp_path):
    """There is one reason, and nothing is opened."""
    source = rapl_msr.open_source(settings(tmp_path, tmp_path), Former(), 1)
    assert "no processor with known RAPL registers" in source.read(S).state.reason
