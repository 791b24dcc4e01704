# SPDX-License-Identifier: Apache-2.0
"""The table of all sources, in the order in which they are preferred. Pure: it imports none of them."""

from enum import Enum
from typing import NamedTuple


class Way(Enum):
    """How a source is read."""

    TICK = "tick"  # at each tick, by the loop itself
    WORKER = "worker"  # in a thread of its own and once per period of its own, since a call may block
    ROWS = "rows"  # at each tick, from the rows that other sources have just given
    ESTIMATE = "estimate"  # while no meter has anything new


class Entry(NamedTuple):
    """A source: its name, its module in this folder, and how it is read.

    The module is imported only if the source is used. It has `SOURCE` (the name), `open_source(settings,
    former, now_ns)`, for rights `needs(settings)`, and for a worker `period_ns(settings)`.
    `by_default`: False for a source that is used on request only.
    """

    name: str
    module: str
    way: Way = Way.TICK
    by_default: bool = True


# Each place is the rank of its source in every power process, so add new sources where they belong.
SOURCES = (
    Entry("rapl-sysfs", "rapl_sysfs"),  # package, core, uncore, dram, psys
    Entry("rapl-perf", "rapl_perf"),
    Entry("rapl-msr", "rapl_msr", by_default=False),
    Entry("ampere-xgene-hwmon", "hwmon_ampere"),
    Entry("grace-acpi", "hwmon_grace"),
    Entry("hwmon", "hwmon"),
    Entry("cray-pm", "cray_pm"),
    Entry("redfish", "redfish", Way.WORKER),
    Entry("ipmi-dcmi", "ipmi_dcmi", Way.WORKER),
    Entry("acpi", "acpi", Way.WORKER),  # the firmware may ask a BMC for each reading
    Entry("macsmc", "macsmc"),
    Entry("psys", "psys", Way.ROWS),  # platform, from RAPL's psys
    Entry("battery", "battery"),
    Entry("trained_power_model", "estimator", Way.ESTIMATE),  # package, dram, platform from CPU time
)
