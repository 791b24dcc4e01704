# SPDX-License-Identifier: Apache-2.0
"""What the power service can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning


class PowerSettings(CommonSettings, kw_only=True, frozen=True):
    """The energy of every zone of this node: from its meters, else estimated from CPU time."""

    path_sysfs: Annotated[
        Path, meaning("where the host's sysfs is mounted; meters are below class/powercap in it")
    ] = field(default=Path("/sys"), name="path.sysfs")
    hwmon_rules: Annotated[
        str,
        meaning(
            "rules for hwmon chips in a TOML file, which go before the built-in ones; default: none",
            expected="a path",
        ),
    ] = field(default="", name="hwmon.rules")
