# SPDX-License-Identifier: Apache-2.0
"""The five services in one table. Pure."""

from typing import NamedTuple


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


def inputs_of(service: str) -> tuple[str, ...]:
    """The services whose streams this one's content is made from; none for an unknown name."""
    return tuple(
        PRODUCER_OF_TOPIC[topic] for entry in PIPELINE if entry.name == service for topic in entry.reads
    )
