# SPDX-License-Identifier: Apache-2.0
"""Energy from the RAPL registers themselves, through /dev/cpu/N/msr. Only if `power.sources` names it.

A counter has 32 bits of energy units. For every unit its range is a whole number of µJ, at which
the figure in µJ wraps. So no wrap or restart costs a rounding error (rapl_msr_registers.py).
"""

import errno
from collections.abc import Container
from functools import partial

from wattline.wire.frames import UNREADABLE

from .channel import Channel, Found, Kind, Sample, sampled
from .choice import is_named
from .cpu_model import Processor, by_index, online, places, processor, psys_index
from .metered import Metered
from .msr_device import PackageRegisters
from .needs import Needs
from .rapl_msr_registers import Registers, Unit, registers, unit_of
from .settings import PowerSettings
from .source import MEASURED, Absent, Former, Source, Zone

SOURCE = "rapl-msr"
NEEDS = Needs(capabilities=("CAP_SYS_RAWIO", "CAP_DAC_READ_SEARCH"))
_COUNTER_MASK = 2**32 - 1  # the upper half of the register is reserved (Intel SDM volume 4, 0x611)


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The RAPL registers of this node, if the settings ask for them."""
    counted = {zone.index for zone in former.rows if zone.source == SOURCE}
    return Metered(SOURCE, RaplMsr(settings, counted).find, former, now_ns)


def needs(settings: PowerSettings) -> Needs:
    """The rights to open the devices, if the settings ask for them."""
    if not is_named(settings.power_sources, SOURCE):
        return Needs()
    return NEEDS


class RaplMsr:
    """Discovery: which packages there are, and which registers each has."""

    def __init__(self, settings: PowerSettings, counted: Container[str] = ()) -> None:
        """`counted`: the indexes of the packages that a former run has counted."""
        self._settings = settings
        self._counted = counted
        self._packages: dict[str, PackageRegisters] = {}
        self._channels: dict[Zone, Channel] = {}
        self._closed: set[Zone] = set()

    def find(self) -> Found:
        """Return the zones whose registers can be read."""
        if not is_named(self._settings.power_sources, SOURCE):
            return Found(why_none="used only if power.sources names rapl-msr")
        sysfs = self._settings.path_sysfs
        chip = processor(sysfs)
        known = registers(chip)
        if chip is None or known is None:
            return Found(
                why_none=f"no processor with known RAPL registers: {chip or 'not x86, or not shown'}"
            )
        try:
            found = places(sysfs, online(sysfs))
            groups = by_index(found, by_die=not chip.has_package_scope)
        except (OSError, ValueError) as error:
            return Found(why_none=f"{sysfs}/devices/system/cpu: the CPUs' places can't be read: {error}")
        return self._look(chip, known, groups)

    def _look(self, chip: Processor, known: Registers, groups: dict[str, list[int]]) -> Found:
        skipped = list(known.skipped)
        faults: list[str] = []
        unreadable: list[Absent] = []
        channels: list[Channel] = []
        for index, cpus in groups.items():
            package = self._packages.setdefault(index, PackageRegisters(self._settings.path_dev, cpus))
            package.follow(cpus)
            try:
                unit_register = package.read(known.unit)
            except OSError as error:
                faults.append(str(error.strerror))
                if index in self._counted or any(zone.index == index for zone in self._channels):
                    # Its zones are still there, and keep their rows.
                    unreadable.append(Absent(SOURCE, "", package.place, UNREADABLE, faults.pop()))
                continue
            if not unit_register:
                faults.append(
                    f"{package.place}: register {known.unit:#x}, the unit, shows 0: a virtual machine"
                )
                continue
            for name, register in known.zones.items():
                zone_index = psys_index(index) if name == "psys" else index
                zone = Zone(name, zone_index, SOURCE, MEASURED)
                if any(channel.zone == zone for channel in channels):
                    continue
                unit = unit_of(chip, name, unit_register)
                channel = self._channel(zone, package, register, unit, skipped)
                if channel is not None:
                    channels.append(channel)
        why_none = "" if channels else "; ".join(faults) or "no RAPL register counts: a virtual machine"
        left_out = [*skipped, *faults] if channels else skipped
        return Found(channels, unreadable, left_out, why_none)

    def _channel(
        self, zone: Zone, package: PackageRegisters, register: int, unit: Unit, skipped: list[str]
    ) -> Channel | None:
        """A zone's channel; a register that isn't there, or shows 0, has none."""
        known = self._channels.get(zone)
        if known is not None and zone not in self._closed and known.range_uj == unit.range_uj:
            return known  # also while its register can't be read: then the zone is unreadable, not gone
        place = f"{package.place}: register {register:#x}"
        try:
            if not package.read(register) & _COUNTER_MASK:
                skipped.append(f"{zone}: {place} shows 0: no such counter in this processor")
                return None
        except OSError as error:
            if error.errno != errno.EIO:
                skipped.append(f"{zone}: {error.strerror}")
            return None
        channel = Channel(
            zone,
            place,
            partial(_read, package, register, unit),
            Kind.COUNTER,
            range_uj=unit.range_uj,
            close=partial(self._close, zone, package),
        )
        self._channels[zone] = channel
        self._closed.discard(zone)
        return channel

    def _close(self, zone: Zone, package: PackageRegisters) -> None:
        self._closed.add(zone)
        package.close()


def _read(package: PackageRegisters, register: int, unit: Unit) -> Sample:
    return sampled(lambda: unit.energy_uj(package.read(register) & _COUNTER_MASK))
