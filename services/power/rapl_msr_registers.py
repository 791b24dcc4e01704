# SPDX-License-Identifier: Apache-2.0
"""Which RAPL registers a processor has, and what their units are. Pure.

Sources, Linux 6.14 unless said otherwise: arch/x86/events/rapl.c (which registers, and both fixed units),
drivers/powercap/intel_rapl_common.c (the same, and the unit of old Atoms), arch/x86/include/asm/msr-index.h
(addresses), arch/x86/include/asm/intel-family.h (models).
"""

from dataclasses import dataclass

from .cpu_model import AMD, HYGON, INTEL, Processor

INTEL_UNIT, AMD_UNIT = 0x606, 0xC0010299
_INTEL = {"package": 0x611, "dram": 0x619, "core": 0x639, "uncore": 0x641, "psys": 0x64D}
# 0xC001029A is the energy of a single core, and left out.
_AMD = {"package": 0xC001029B}
_UNIT_SHIFT, _UNIT_MASK = 8, 0x1F
_COUNTER_BITS = 32
_UJ_PER_J = 1_000_000
_INTEL_FAMILY, _AMD_FAMILY_MIN, _HYGON_FAMILY = 6, 0x17, 0x18
# dram counts in 2⁻¹⁶ J (15.3 µJ), whatever the unit register says: Haswell-X, Broadwell-X, Skylake-X and its
# successors Cascade Lake and Cooper Lake, Ice Lake-X and -D, Knights Landing and Knights Mill.
_DRAM_FIXED = frozenset({0x3F, 0x4F, 0x55, 0x6A, 0x6C, 0x57, 0x85})
_DRAM_FIXED_SHIFT = 16
# The two drivers disagree on the unit of dram of Broadwell-D, by a factor of four.
_DRAM_UNKNOWN = frozenset({0x56})
# psys counts in J: Sapphire Rapids and Emerald Rapids. Their dram goes by the unit register.
_PSYS_FIXED = frozenset({0x8F, 0xCF})
# The unit is 2ⁿ µJ instead of 2⁻ⁿ J: Silvermont (two), Airmont (two).
_ATOMS = frozenset({0x37, 0x4A, 0x4C, 0x5A})
# Other models that the kernel's drivers know. All of their counters go by the unit register.
_PLAIN = frozenset(
    {0x2A, 0x2D, 0x3A, 0x3E, 0x3C, 0x45, 0x46, 0x3D, 0x47, 0x4E, 0x5E, 0x8E, 0x9E, 0x66, 0x5C, 0x5F, 0x7A}
    | {0x7D, 0x7E, 0x9D, 0xA5, 0xA6, 0xA7, 0x8C, 0x8D, 0x8A, 0x86, 0x96, 0x9C, 0x97, 0x9A, 0xBE, 0xB7, 0xBA}
    | {0xBF, 0xAC, 0xAA, 0xC5, 0xC6, 0xBD}
)


@dataclass(frozen=True)
class Unit:
    """What one count is worth: `numerator` ÷ 2^`shift` µJ."""

    numerator: int
    shift: int

    def energy_uj(self, count: int) -> int:
        """Return the energy of a register's count in µJ, rounded down."""
        return count * self.numerator >> self.shift

    @property
    def range_uj(self) -> int:
        """Return where the counter wraps: a whole number, so wraps add up without a rounding error."""
        return (self.numerator << _COUNTER_BITS) >> self.shift


@dataclass(frozen=True)
class Registers:
    """The registers of a processor. `zones`: address by zone. `skipped`: why others are left out."""

    unit: int
    zones: dict[str, int]
    skipped: tuple[str, ...] = ()


def registers(processor: Processor | None) -> Registers | None:
    """Return the registers of a processor; None if it isn't known to have any."""
    if processor is None:
        return None
    if processor.vendor == INTEL and processor.family == _INTEL_FAMILY:
        return _intel(processor)
    if (processor.vendor == AMD and processor.family >= _AMD_FAMILY_MIN) or (
        processor.vendor == HYGON and processor.family == _HYGON_FAMILY
    ):
        return Registers(AMD_UNIT, _AMD)
    return None


def _intel(processor: Processor) -> Registers | None:
    model = processor.model
    if model in _DRAM_FIXED | _PSYS_FIXED | _PLAIN:
        return Registers(INTEL_UNIT, _INTEL)
    if model in _DRAM_UNKNOWN:
        return _without(
            "dram", why=f"{processor}: the kernel's drivers disagree on the unit of its dram counter"
        )
    if model in _ATOMS:
        return _without("dram", "psys", why=f"{processor} has no dram or psys counter")
    return None


def _without(*zones: str, why: str) -> Registers:
    return Registers(INTEL_UNIT, {zone: at for zone, at in _INTEL.items() if zone not in zones}, (why,))


def unit_of(processor: Processor, zone: str, unit_register: int) -> Unit:
    """Return the unit of a zone's counter, given the content of the unit register (bits 12:8)."""
    shift = unit_register >> _UNIT_SHIFT & _UNIT_MASK
    if processor.vendor == INTEL:
        if zone == "psys" and processor.model in _PSYS_FIXED:
            return Unit(_UJ_PER_J, 0)
        if zone == "dram" and processor.model in _DRAM_FIXED:
            return Unit(_UJ_PER_J, _DRAM_FIXED_SHIFT)
        if processor.model in _ATOMS:
            return Unit(1 << shift, 0)
    return Unit(_UJ_PER_J, shift)
