# SPDX-License-Identifier: Apache-2.0
"""One chassis of the node: its meter, its channel and its newest reading."""

from dataclasses import replace

from ..channel import Channel, Kind, Sample
from ..source import Level, Note, Zone
from . import figures
from .clock import BmcClock, Exchange
from .figure import Meter, unix_ns
from .renewal import Falls, Renewal
from .resource import Resources

# A gauge's power may be drawn across so many periods as a straight line: two answers in a row may be missing.
BRIDGE_PERIODS = 3
_NOT_YET = "not read yet"


class Watched:
    """A chassis that is read in each round. `fault`: why there is no reading, empty if there is one."""

    def __init__(self, zone: Zone, meter: Meter, url: str, period_ns: int, last: int | None = None) -> None:
        """`period_ns`: how often it is asked. `last`: a former run's reading."""
        self.meter = meter
        self.fault = _NOT_YET
        self._sample: Sample | None = None
        self._renewal = Renewal(meter.kind, period_ns)
        self._falls = Falls(last)
        self.channel = Channel(
            zone=zone,
            place=f"{url}{meter.terms[0]}",
            read=self._read,
            kind=meter.kind,
            bridge_ns=BRIDGE_PERIODS * period_ns + meter.averaged_ns,
            period_ns=period_ns,
        )

    def take(self, resources: Resources, exchange: Exchange, clock: BmcClock) -> None:
        """Take the answers of a round, the last of which is `exchange`; what is wrong becomes the fault."""
        try:
            figure = self.meter.read(resources)
            if self.meter.kind is Kind.COUNTER:
                self._falls.take(figure.value)
                self._renewal.step_uj = figures.step_uj(self.meter.unit_uj, figure.decimals)
            is_new = self._renewal.take(
                figure.value, figure.stamp, has_fraction=figure.has_fraction, asked_ns=exchange.received_ns
            )
        except ValueError as error:
            self.fault = str(error)
            return
        self.fault = ""
        if not is_new and self._sample is not None:
            return
        mono_ns = clock.answered_ns(exchange)
        own_ns = unix_ns(figure.stamp)
        if own_ns is not None:
            mono_ns = clock.mono_ns(own_ns, exchange) or mono_ns
        # The mean of an interval is the power in its middle.
        self._sample = Sample(mono_ns - self.meter.averaged_ns // 2, figure.value)
        self._learn_period()

    def forget(self) -> None:
        """Have no reading until the next round: what is older is another series'."""
        self.fault, self._sample = _NOT_YET, None

    def described(self) -> Note:
        """What is measured, where, and how, for the log: the frames have no room for it."""
        meter = self.meter
        return Note(
            "redfish_meter",
            f"{self.channel.zone}: {meter.what}",
            {
                "at": ", ".join(map(str, meter.terms)),
                "averaged_s": meter.averaged_ns / 1e9,
                "period_s": self.channel.period_ns / 1e9,
            },
            Level.INFO,
        )

    def _read(self) -> Sample:
        if self.fault or self._sample is None:
            raise OSError(self.fault or _NOT_YET)
        return self._sample

    def _learn_period(self) -> None:
        """Let the channel say how often the BMC renews the figure."""
        period_ns = self._renewal.renewal_ns
        if period_ns != self.channel.period_ns:
            bridge_ns = BRIDGE_PERIODS * period_ns + self.meter.averaged_ns
            self.channel = replace(self.channel, period_ns=period_ns, bridge_ns=bridge_ns)
