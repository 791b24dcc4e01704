# SPDX-License-Identifier: Apache-2.0
"""What the power service can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning

from .redfish_bmc import address


class PowerSettings(CommonSettings, kw_only=True, frozen=True):
    """The energy of every zone of this node: from its meters, else estimated from CPU time."""

    path_sysfs: Annotated[
        Path, meaning("where the host's sysfs is mounted; meters are below class/powercap in it")
    ] = field(default=Path("/sys"), name="path.sysfs")
    redfish_url: Annotated[
        str,
        meaning(
            "the BMC whose power is this node's; default: none",
            expected="https://HOST[:PORT]",
            check=address.check,
        ),
    ] = field(default="", name="redfish.url")
    redfish_credentials_file: Annotated[
        str,
        meaning(
            "file of two lines, the user and the password for the BMC, that others can't read; default: the "
            "variables WATTLINE_REDFISH_USER and WATTLINE_REDFISH_PASSWORD",
            expected="a path",
        ),
    ] = field(default="", name="redfish.credentials-file")
    redfish_ca_file: Annotated[
        str,
        meaning(
            "certificates (PEM) of the authorities that may have signed the BMC's, or the BMC's own; "
            "default: the system's",
            expected="a path",
        ),
    ] = field(default="", name="redfish.ca-file")
    redfish_verify: Annotated[
        bool, meaning("whether the BMC has to show a valid certificate; without, its password is at risk")
    ] = field(default=True, name="redfish.verify")
    redfish_auth: Annotated[
        str,
        meaning("how to log in: session (once) or basic (with each request)", choices=("session", "basic")),
    ] = field(default="session", name="redfish.auth")
    redfish_chassis: Annotated[
        str,
        meaning(
            "ids of the node's chassis, whose energies add; default: chosen by the rule in docs/redfish.md",
            expected="ids with commas between them, e.g. Self or Node1,Node1-GPU",
            check=address.chassis_ids,
        ),
    ] = field(default="", name="redfish.chassis")
    redfish_period_s: Annotated[
        float, meaning("time between two rounds of requests to the BMC", "s", ge=0.1, le=3600)
    ] = field(default=30.0, name="redfish.period-s")
    redfish_timeout_s: Annotated[
        float, meaning("longest time that one round of requests may take in all", "s", ge=0.1, le=3600)
    ] = field(default=20.0, name="redfish.timeout-s")
