# SPDX-License-Identifier: Apache-2.0
"""A meter for tests of what is made of channels: a table of figures that a test changes at will."""

from dataclasses import dataclass, field

from services.power.channel import Channel, Found, Kind, Sample
from services.power.metered import Metered
from services.power.source import MEASURED, Former, Zone

from .world import Clock, S

NAME = "test-meter"


def zone(name="package", index="0", source=NAME) -> Zone:
    return Zone(name, index, source, MEASURED)


@dataclass
class Shown:
    """What a channel shows: a figure at a time (now, if it is None), or an error."""

    value: int = 0
    kind: Kind = Kind.COUNTER
    range_uj: int = 0
    bridge_ns: int = 10 * S
    period_ns: int = 0
    mono_ns: int | None = None
    error: Exception | None = None
    is_found: bool = True


@dataclass
class Meter:
    """Channels by zone; a Metered source of them."""

    clock: Clock
    shown: dict[Zone, Shown] = field(default_factory=dict)
    unreadable: list = field(default_factory=list)
    why_none: str = "no such meter here"
    find_error: Exception | None = None
    finds: int = 0
    closed: list[Zone] = field(default_factory=list)
    channels: dict[Zone, Channel] = field(default_factory=dict)

    def show(self, value, name="package", index="0", **more) -> Shown:
        shown = self.shown[zone(name, index)] = Shown(value, **more)
        return shown

    def find(self) -> Found:
        self.finds += 1
        if self.find_error:
            raise self.find_error
        return Found(
            [self._channel(key, shown) for key, shown in self.shown.items() if shown.is_found],
            self.unreadable,
            why_none="" if self.shown else self.why_none,
        )

    def _channel(self, key, shown):
        def read():
            shown = self.shown[key]
            if shown.error:
                raise shown.error
            return Sample(self.clock.now_ns if shown.mono_ns is None else shown.mono_ns, shown.value)

        return Channel(
            key,
            f"/meter/{key.name}",
            read,
            shown.kind,
            shown.range_uj,
            shown.bridge_ns,
            shown.period_ns,
            lambda: self.closed.append(key),
        )

    def source(self, former=None, **more) -> Metered:
        return Metered(NAME, self.find, former or Former(), self.clock.now_ns, **more)


def former_of(rows, epoch=1) -> Former:
    """What a new run finds of a run that published these rows last."""
    found = {row.zone: row for row in rows}
    return Former(epoch, found, 0, max((row.mono_ns for row in rows), default=0))
