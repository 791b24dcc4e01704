# SPDX-License-Identifier: Apache-2.0
"""The setting `power.streams`: which power streams there are, their users, and their zones. Pure.

Several `power` processes may run beside each other, each under a name of its own: one holds a BMC's password,
another the right to read RAPL. Each may publish only the zones that the setting gives it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from .pipeline import POWER, PRODUCER_OF_TOPIC, SERVICES, STREAM_NAME_FORM, is_extra_stream
from .setting import nearest

ZONES = ("package", "core", "uncore", "dram", "gpu", "psys", "platform", "other")
FORM = "NAME[:UID]=ZONE+…,…, e.g. power-bmc:60610=platform"
_UID = re.compile(r"[0-9]{1,10}", re.ASCII)
_UID_MAX = 2**32 - 2  # 2³² - 1 means "leave it as it is" to the kernel (man 2 setresuid)


class PowerStream(NamedTuple):
    """One stream of the topic `power`, named by its directory.

    `zones`: those that it may publish, None for every zone. `uid`: the owner of its directory, None if the
    setting has no number.
    """

    name: str
    zones: frozenset[str] | None
    uid: int | None = None

    def allows(self, zone: str) -> bool:
        """Return True if the stream may publish a zone of this name."""
        return self.zones is None or zone in self.zones


class PowerStreams:
    """All power streams that count, `power` first."""

    def __init__(self, streams: Iterable[PowerStream]) -> None:
        self._by_name: Mapping[str, PowerStream] = MappingProxyType({one.name: one for one in streams})

    def __iter__(self) -> Iterator[PowerStream]:
        return iter(self._by_name.values())

    def find(self, name: str) -> PowerStream | None:
        """The stream of this name; None if there is none, or if the name is another service's."""
        return self._by_name.get(name)

    def uid_of(self, name: str) -> int | None:
        """The user that the setting gives to a stream; None without one, and for other services."""
        stream = self.find(name)
        return stream.uid if stream is not None else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the streams, `power` first."""
        return tuple(self._by_name)

    @property
    def extra(self) -> tuple[PowerStream, ...]:
        """The streams beside `power`."""
        return tuple(one for one in self if one.name != POWER)

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of all stages, in the order of the pipeline: extra streams follow `power`."""
        return tuple(
            name for service in SERVICES for name in (self.names if service == POWER else (service,))
        )

    def producers_of(self, topics: Iterable[str]) -> tuple[str, ...]:
        """The stages that publish some of these topics, in the order of the pipeline."""
        wanted = set(topics)
        if "status" in wanted:
            return self.stages
        owners = {PRODUCER_OF_TOPIC[topic] for topic in wanted if topic in PRODUCER_OF_TOPIC}
        return tuple(
            stage for stage in self.stages if stage in owners or (POWER in owners and stage in self._by_name)
        )


@lru_cache(maxsize=8)
def parse_power_streams(text: str) -> PowerStreams:
    """The streams of a setting such as `power-bmc:60610=platform+other`; `power` is always among them.

    Raises ValueError naming what is wrong.
    """
    found: dict[str, PowerStream] = {}
    for part in text.split(",") if text else ():
        stream = _parse(part.strip())
        if stream.name in found:
            raise ValueError(f"{stream.name} is in it twice")
        found[stream.name] = stream
    own = found.pop(POWER, PowerStream(POWER, None))
    return PowerStreams((own, *found.values()))


ONLY_POWER = parse_power_streams("")


def check_stream_name(text: str) -> None:
    """Raise ValueError for a name that no power stream can have."""
    if text != POWER and not is_extra_stream(text):
        raise ValueError


def _parse(part: str) -> PowerStream:
    left, equals, zones = part.partition("=")
    name, colon, uid = left.partition(":")
    if name != POWER and not is_extra_stream(name):
        likely = f"{POWER}-" + re.sub("[^a-z0-9-]", "-", name.lower()).removeprefix(f"{POWER}-")
        hint = nearest(name.lower(), (POWER, *filter(is_extra_stream, [likely])))
        raise ValueError(f"{name!r:.50} is no name of a stream, expected {STREAM_NAME_FORM}{hint}")
    if not equals or not zones:
        raise ValueError(f"{name} has no zones, expected some of {', '.join(ZONES)}, as {name}=platform")
    if colon and (_UID.fullmatch(uid) is None or int(uid) > _UID_MAX):
        raise ValueError(f"{uid!r:.20} after {name}: is no number of a user, expected 0 to {_UID_MAX}")
    return PowerStream(name, _zones(name, zones), int(uid) if colon else None)


def _zones(name: str, text: str) -> frozenset[str]:
    zones = text.split("+")
    for zone in zones:
        if zone not in ZONES:
            raise ValueError(f"there is no zone {zone!r:.30}{nearest(zone, ZONES)} (in the zones of {name})")
    return frozenset(zones)
