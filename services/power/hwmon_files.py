# SPDX-License-Identifier: Apache-2.0
"""Small files of sysfs: their text, and the figures in them. Every error says what was expected and got."""

import errno
import os
from pathlib import Path

_READ_BYTES = 4096  # sysfs shows at most one page
_LONG_MAX = 2**63 - 1  # hwmon figures are a C long

# Figures that stand for "no reading": all bits set, or the largest signed number, in 32 bits.
# In milliwatts: ACPI 6.0, 10.4.3, _PMM (drivers/hwmon/acpi_power_meter.c multiplies it by 1000).
# In microwatts: drivers/hwmon/macsmc-hwmon.c, which limits to INT_MAX.
NO_READING_UW = frozenset({0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF * 1000, 0x7FFFFFFF * 1000})
# Zones that draw power whenever this program runs: for them 0 W is no reading either.
_NEVER_ZERO = frozenset({"package", "dram", "psys", "platform"})


def read_text(path: Path) -> str:
    """A file's text without white space around it. Raises OSError with the cure, ValueError if not ASCII."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, _READ_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}{_cure(error)}") from error
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"expected text in ASCII, got {data!r:.80}") from None


def read_number(path: Path, unit: str) -> int:
    """A file's whole number, which may be negative. `unit`: for the message."""
    text = read_text(path)
    digits = text.removeprefix("-")
    if not (digits.isdigit() and len(digits) <= len(str(2**64))):
        raise ValueError(f"expected a whole number of {unit}, got {text!r:.80}")
    return int(text)


def read_natural(path: Path, unit: str) -> int:
    """A file's whole number of 0 or more. Raises as read_text does, and ValueError for other texts."""
    number = read_number(path, unit)
    if number < 0:
        raise ValueError(f"expected {unit} of 0 or more, got {number}")
    return number


def optional_text(path: Path | None) -> str:
    """A file's text; empty if there is none or it can't be read."""
    try:
        return "" if path is None else read_text(path)
    except (OSError, ValueError):
        return ""


def check_power(zone: str, power_uw: int) -> int:
    """Return the power if it is a reading. Raises ValueError for figures that stand for none."""
    if power_uw in NO_READING_UW:
        raise ValueError(
            f"expected a power, got {power_uw} µW, which stands for 'no reading': update the firmware, or "
            "leave this source out"
        )
    if power_uw == 0 and zone in _NEVER_ZERO:
        raise ValueError(f"expected more than 0 W, since a running {zone} draws some, got 0")
    return power_uw


def check_energy(zone: str, energy_uj: int) -> int:
    """Return the counter if it can be one. Raises ValueError otherwise."""
    if energy_uj > _LONG_MAX:
        raise ValueError(f"expected a counter of at most {_LONG_MAX} µJ, got {energy_uj}")
    if energy_uj == 0 and zone in _NEVER_ZERO:
        raise ValueError("expected a counter above 0 µJ, got 0: it doesn't count (in a virtual machine?)")
    return energy_uj


def _cure(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return " (only root may read it: start power as root, or give it CAP_DAC_READ_SEARCH)"
    return ""
