# SPDX-License-Identifier: Apache-2.0
"""The five services in one table. Pure."""

import re
from typing import NamedTuple

POWER = "power"
_EXTRA_STREAM = re.compile(r"power-[a-z0-9-]{1,32}")
STREAM_NAME_FORM = "power or power-NAME with a NAME of up to 32 letters a-z, digits and hyphens"


class Service(NamedTuple):
    """One service: what it is for, and which streams it takes and gives.

    `reads`: topics that its own content is made from. `as_root`: `wattline up` keeps it root, since tracefs
    and the BPF file system belong to root.
    """

    name: str
    text: str
    publishes: str
    reads: tuple[str, ...] = ()
    as_root: bool = False


PIPELINE = (
    Service("probe", "what every process and cgroup did (eBPF)", "activity", as_root=True),
    Service("power", "energy of every zone (RAPL, else an estimate)", "power", ("activity",)),
    Service("metadata", "who each process and cgroup is", "metadata", ("activity",)),
    Service(
        "calculator",
        "joules per workload, with books that close",
        "energy",
        ("activity", "metadata", "power"),
    ),
    Service("exporter", "Prometheus metrics over HTTP", "status", ("energy", "metadata")),
)
SERVICES = tuple(service.name for service in PIPELINE)

# Which service owns a topic. `status` is published by all.
PRODUCER_OF_TOPIC = {entry.publishes: entry.name for entry in PIPELINE if entry.publishes != "status"}


def is_extra_stream(name: str) -> bool:
    """Return True for the name of a power stream beside `power`, as power-bmc."""
    return _EXTRA_STREAM.fullmatch(name) is not None


def service_of(stage: str) -> str:
    """The service that runs under a name: `power` under power-bmc, every other under its own."""
    return POWER if is_extra_stream(stage) else stage


def inputs_of(stage: str) -> tuple[str, ...]:
    """The services whose streams this stage's content is made from; none for an unknown name."""
    service = service_of(stage)
    return tuple(
        PRODUCER_OF_TOPIC[topic] for entry in PIPELINE if entry.name == service for topic in entry.reads
    )
