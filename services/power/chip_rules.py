# SPDX-License-Identifier: Apache-2.0
"""Which sensor of which hwmon chip measures which zone. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NONE = "none"  # instead of a zone: the sensor is left out
HWMON, AMPERE, GRACE, MACSMC = "hwmon", "ampere-xgene-hwmon", "grace-acpi", "macsmc"
ACPI_CHIP = "power_meter"
ZONES = ("package", "core", "uncore", "dram", "psys", "platform", NONE)
PLACEHOLDERS = ("{n}", "{device}", "{instance}", "{package}")


@dataclass(frozen=True)
class Rule:
    """Sensors of a chip that measure one zone; an empty field matches any.

    `label`: as the driver has it, where `{n}` stands for a number. `sensor`: such as power1.
    `device`: such as 1-0040. `index`: text with placeholders; empty: the label's number, else 0.
    `source`: its name.

    If several rules match a sensor, the first one counts. If several sensors have one zone and index, that of
    the first rule counts.
    """

    chip: str
    zone: str
    label: str = ""
    sensor: str = ""
    device: str = ""
    index: str = ""
    source: str = HWMON

    @property
    def index_template(self) -> str:
        """The index with its default."""
        return self.index or ("{n}" if "{n}" in self.label else "0")

    def match(self, chip: str, device: str, sensor: str, label: str) -> str | None:
        """The number in the label ("" if the rule wants none), or None if the sensor isn't meant."""
        for wanted, got in ((self.chip, chip), (self.device, device), (self.sensor, sensor)):
            if wanted and wanted != got:
                return None
        if not self.label:
            return ""
        before, has_number, after = self.label.partition("{n}")
        pattern = re.escape(before) + ("([0-9]{1,6})" if has_number else "()") + re.escape(after)
        found = re.fullmatch(pattern, label)
        return None if found is None else (str(int(found[1])) if has_number else "")


BUILT_IN: tuple[Rule, ...] = (
    # Ampere Altra, one device per socket: drivers/hwmon/xgene-hwmon.c, Linux 6.1. "IO power" is the rest of
    # the chip and has no zone.
    Rule("apm_xgene", "package", label="CPU power", index="{instance}", source=AMPERE),
    Rule("xgene_hwmon", "package", label="CPU power", index="{instance}", source=AMPERE),
    # NVIDIA Grace: the labels are the OEM information in the firmware's _PMC. "Grace" is the whole socket
    # (cores, SoC, memory, losses). "CPU" is the rail of the cores, and counts where there is no "Grace".
    # "SysIO" is within "Grace", "Module" holds the GPU as well: they have no zone, and acpi.py skips them.
    # Grace Performance Tuning Guide, "Power Telemetry".
    Rule(ACPI_CHIP, "package", label="Grace Power Socket {n}", source=GRACE),
    Rule(ACPI_CHIP, "package", label="CPU Power Socket {n}", source=GRACE),
    # NVIDIA Jetson: labels of the device trees (arch/arm64/boot/dts/nvidia/tegra234-p3767.dtsi, Linux 6.6)
    # and of the Jetson Linux Developer Guide. VDD_CPU_GPU_CV has the GPU in it and can't be split. VDD_GPU
    # and VDD_SYS_GPU are left to the sources of GPUs.
    Rule("ina3221", "platform", label="VDD_IN"),
    Rule("ina3221", "package", label="VDD_CPU_GPU_CV"),
    Rule("ina3221", "package", label="VDD_CPU_CV"),
    Rule("ina3221", "package", label="VDD_SYS_CPU"),
    Rule("ina3221", "package", label="VDD_CPU"),
    # AMD: a socket's counter is shown once for each of its NUMA nodes, as EsocketN of node N:
    # drivers/hwmon/amd_energy.c, Linux 5.10. EcoreNNN are within it.
    Rule("amd_energy", "package", label="Esocket{n}", index="{package}"),
    # Apple silicon: drivers/hwmon/macsmc-hwmon.c, Linux 6.19, and its device tree's label for the key PSTR.
    Rule("macsmc_hwmon", "platform", label="Total System Power", source=MACSMC),
    Rule("macsmc-hwmon", "platform", label="Total System Power", source=MACSMC),
)


def names(rules: Sequence[Rule], source: str) -> frozenset[str]:
    """The names of chips that a source's rules are about."""
    return frozenset(rule.chip for rule in rules if rule.source == source)


def instance_of(device: str) -> str:
    """The number at the end of a device's name (hexadecimal, as APMC0D8A:01 has it); 0 if it has none."""
    found = re.fullmatch(".*:([0-9a-f]{2,4})", device, re.IGNORECASE)
    return str(int(found[1], 16)) if found else "0"
