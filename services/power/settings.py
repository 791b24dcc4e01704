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
    path_dev: Annotated[
        Path, meaning("where the host's /dev is mounted; rapl-msr reads cpu/N/msr in it, ipmi-dcmi ipmi0")
    ] = field(default=Path("/dev"), name="path.dev")
    ipmi_period_s: Annotated[
        float,
        meaning("time between two readings of the BMC's power by IPMI; BMCs are slow", "s", ge=1, le=300),
    ] = field(default=5.0, name="ipmi.period-s")
