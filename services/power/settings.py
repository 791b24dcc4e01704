# SPDX-License-Identifier: Apache-2.0
"""What the power service can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import NamedSettings, meaning

from .choice import check


class PowerSettings(NamedSettings, kw_only=True, frozen=True):
    """The energy of every zone of this node: from its meters, else estimated from CPU time."""

    path_sysfs: Annotated[
        Path, meaning("where the host's sysfs is mounted; meters are below class/powercap in it")
    ] = field(default=Path("/sys"), name="path.sysfs")
    power_sources: Annotated[
        str,
        meaning(
            "which meters to use, separated by commas: names alone (these, in this order), or changes to the "
            "default: +NAME (first) and -NAME (left out); docs/meters.md lists them",
            expected="names of sources, all plain or all with + or -, e.g. rapl-sysfs or -psys",
            check=check,
        ),
    ] = field(default="", name="power.sources")
    hwmon_rules: Annotated[
        str,
        meaning(
            "rules for hwmon chips in a TOML file, which go before the built-in ones; default: none",
            expected="a path",
        ),
    ] = field(default="", name="hwmon.rules")
    path_dev: Annotated[
        Path, meaning("where the host's /dev is mounted; rapl-msr reads cpu/N/msr in it, ipmi-dcmi ipmi0")
    ] = field(default=Path("/dev"), name="path.dev")
    ipmi_period_s: Annotated[
        float,
        meaning("time between two readings of the BMC's power by IPMI; BMCs are slow", "s", ge=1, le=300),
    ] = field(default=5.0, name="ipmi.period-s")
