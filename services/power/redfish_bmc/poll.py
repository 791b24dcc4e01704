# SPDX-License-Identifier: Apache-2.0
"""Rounds of requests to a BMC, one each period."""

from collections.abc import Mapping, Sequence

from wattline.wire.frames import UNREADABLE

from ..channel import Found, Kind
from ..source import MEASURED, Absent, Level, Note, Zone
from . import SOURCE
from .clock import BmcClock
from .errors import Failed
from .figure import Meter
from .look import Look, Sight
from .resource import Resource
from .session import Session
from .transport import Transport
from .watched import Watched

_ZONE = "platform"
_LOOK_ROUNDS = 20  # how often to look for other chassis and better figures
# The longest pause that Retry-After or refused logins cause: a BMC that is back is seen within minutes.
_PAUSE_PERIODS_MAX = 10
_NOT_FOUND = 404
_WHOLE_BMC = (0, 401, 429, 503)  # HTTP status (0: no answer) after which other requests make no sense


class Poll:
    """A BMC's chassis, as the last round has left them. A round that fails leaves each with the reason."""

    def __init__(
        self,
        session: Session,
        transport: Transport,
        url: str,
        *,
        period_ns: int,
        wanted: Sequence[str],
        last: Mapping[Zone, int],
    ) -> None:
        """`wanted`: the ids of the node's chassis; empty for those that chassis.py chooses.

        `last`: a former run's readings.
        """
        self._session = session
        self._transport = transport
        self._url = url
        self._period_ns = period_ns
        self._look = Look(wanted, period_ns)
        self._last = last
        self._clock = BmcClock()
        self._watched: dict[Zone, Watched] = {}
        self._skipped: Sequence[str] = ()
        self._why_none = ""  # empty before the first round
        self._rounds_until_look = 0
        self._not_before_ns = 0
        self._refused_logins = 0
        self._was_faulty = False
        self.has_looked = False  # it is known which chassis there are
        self.notes: list[Note] = []

    def round(self, now_ns: int, limit_s: float) -> None:
        """Read all chassis, within `limit_s` in all. Nothing while the BMC is to be left alone."""
        if now_ns < self._not_before_ns:
            return
        self._transport.begin(limit_s)
        try:
            self._look_if_due()
            for one in self._watched.values():
                self._read(one)
            self._refused_logins = 0
        except Failed as failed:
            self._take(failed, now_ns)
        finally:
            self._transport.end()
        self._say_whether_back()

    def found(self) -> Found:
        """The channels of all chassis; without any, a BMC that can't be read."""
        channels = [one.channel for one in self._watched.values()]
        if channels or not self._why_none:
            return Found(channels, skipped=self._skipped, why_none="not read yet")
        return unreadable(self._why_none, self._skipped)

    def forget_readings(self) -> None:
        """Have no reading until the next round: what is older is another series'."""
        for one in self._watched.values():
            one.forget()

    def _take(self, failed: Failed, now_ns: int) -> None:
        pause_ns = failed.retry_after_s * 1_000_000_000
        if failed.is_login:
            # A BMC locks an account after some refused logins, and has few sessions to lose.
            self._refused_logins += 1
            pause_ns = self._period_ns * 2 ** min(self._refused_logins, _PAUSE_PERIODS_MAX)
        if pause_ns:
            self._not_before_ns = now_ns + min(pause_ns, self._period_ns * _PAUSE_PERIODS_MAX)
        self._why_none = failed.text
        for one in self._watched.values():
            one.fault = failed.text

    def _say_whether_back(self) -> None:
        is_faulty = not self._watched or any(one.fault for one in self._watched.values())
        if self._was_faulty and not is_faulty:
            self.notes.append(Note("redfish_back", f"{self._url} has all readings again", level=Level.INFO))
        self._was_faulty = is_faulty

    def _read(self, one: Watched) -> None:
        resources, exchange = {}, self._transport.exchange
        for path in one.meter.paths:
            try:
                resources[path] = self._get(path)
            except Failed as failed:
                if failed.status in _WHOLE_BMC:
                    raise
                one.fault = failed.text
                if failed.status == _NOT_FOUND:
                    self._rounds_until_look = 0
                return
            exchange = self._transport.exchange
        one.take(resources, exchange, self._clock)

    def _get(self, path: str) -> Resource:
        resource = self._session.get(path)
        if self._clock.note(self._transport.exchange):
            cause = f"the clock of {self._url} was set; readings' times follow it"
            self.notes.append(Note("redfish_clock", cause, level=Level.WARNING))
        return resource

    def _get_if_there(self, path: str) -> Resource | None:
        try:
            return self._get(path)
        except Failed as failed:
            if failed.status in _WHOLE_BMC:
                raise
            return None

    def _look_if_due(self) -> None:
        self._rounds_until_look -= 1
        if self._rounds_until_look > 0 and self._watched:
            return
        sight = self._look.go_on(self._get_if_there)
        self._rounds_until_look, self.has_looked = _LOOK_ROUNDS, True
        self._skipped, self._why_none = sight.skipped, sight.why_none
        self._place(sight)

    def _place(self, sight: Sight) -> None:
        """Watch the chassis that were found; those that can be read keep the figure that they have."""
        before, self._watched = self._watched, {}
        for name, meter in sight.meters.items():
            zone = Zone(_ZONE, name, SOURCE, MEASURED)
            known = before.get(zone)
            if known is not None and not _is_better(meter, known):
                self._watched[zone] = known
                continue
            self._watched[zone] = Watched(zone, meter, self._url, self._period_ns, self._last.get(zone))
            self.notes.append(self._watched[zone].described())


def unreadable(reason: str, skipped: Sequence[str] = ()) -> Found:
    """A BMC none of whose chassis can be read: a fault, since a setting says that there is a BMC."""
    return Found(unreadable=[Absent(SOURCE, "", "bmc", UNREADABLE, reason)], skipped=skipped)


def _is_better(meter: Meter, known: Watched) -> bool:
    """True if a chassis is to change to another figure, which costs a gap."""
    if meter == known.meter or meter.kind is known.meter.kind is Kind.COUNTER:
        return False  # the difference between two counters would look like energy
    is_counter = meter.kind is Kind.COUNTER and known.meter.kind is Kind.GAUGE
    return is_counter or bool(known.fault)
