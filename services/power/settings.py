# SPDX-License-Identifier: Apache-2.0
"""What the power service can be told."""

from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.settings import NamedSettings, meaning

from .choice import check
from .redfish_bmc import address


class PowerSettings(NamedSettings, kw_only=True, frozen=True):
    """The energy of every zone of this node: from its meters, else estimated from CPU time."""

    path_sysfs: Annotated[
        Path,
        meaning("where the host's sysfs is mounted, which has most meters (class/powercap, class/hwmon)"),
    ] = field(default=Path("/sys"), name="path.sysfs")
    power_sources: Annotated[
        str,
        meaning(
            "which meters to use, separated by commas: names alone (these, in this order), or changes to the "
            "default: +NAME (first) and -NAME (left out); docs/meters.md lists them and what the default is",
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
