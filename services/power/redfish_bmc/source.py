# SPDX-License-Identifier: Apache-2.0
"""The zones of one BMC as a source: rounds of requests in one thread, and an end from any other."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from wattline.bounded_tls import Trust
from wattline.errors import Fatal
from wattline.wire.frames import Activity, SourceState

from ..channel import Found
from ..metered import Metered
from ..settings import PowerSettings
from ..source import Former, Level, Note, Readings, Zone, ZoneEnergy
from . import SOURCE, address, credentials
from .errors import Failed
from .poll import Poll, unreadable
from .session import Session
from .transport import Transport

_NO_PACKAGE = "the package redfish isn't installed: pip install 'wattline[redfish]'"
_UNVERIFIED = (
    "redfish.verify is false: anyone on the network can pose as the BMC and get its password; "
    "set redfish.ca-file"
)
# A TLS connection costs more than all requests of a round. The web server of a BMC closes one that has been
# idle for some time, 15 s or more: with a longer period it would seldom be there still.
_KEPT_S_MAX = 10.0
# All of close takes less than 2 s, in which a service has to end: a login may finish, the rest is ended.
_LOGIN_END_S, _ROUND_END_S, _LOGOUT_S = 0.4, 0.3, 0.8


class Redfish:
    """The zones of one BMC. `read` may take redfish.timeout-s; `close` may come from any thread."""

    follows_activity = False

    def __init__(
        self,
        settings: PowerSettings,
        former: Former,
        now_ns: int,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Ask nothing yet. `clock`: CLOCK_MONOTONIC.

        Raises Fatal(SETTINGS) for an address that can't be used.
        """
        self._settings = settings
        self._former = former
        self._why_none = ""
        self._poll: Poll | None = None
        self._session: Session | None = None
        self._transport: Transport | None = None
        self._busy = threading.Lock()  # held during a round
        self._must_begin_again = False
        self._is_closed = False
        self._unsaid: list[Note] = []
        self._open(settings, clock)
        self._metered = Metered(SOURCE, self._find, former, now_ns, look_ns=0)

    def _open(self, settings: PowerSettings, clock: Callable[[], int]) -> None:
        try:
            place = address.parse(settings.redfish_url)
        except ValueError as error:
            raise Fatal(
                f"setting redfish.url: expected https://HOST[:PORT]: {error}", Fatal.SETTINGS
            ) from None
        trust = Trust(
            settings.redfish_ca_file,
            verify=settings.redfish_verify,
            setting="redfish.ca-file",
            failed=Failed,
        )
        keeps = settings.redfish_period_s <= _KEPT_S_MAX
        self._transport = Transport(place, trust.context, clock, keeps=keeps)
        try:
            self._session = self._new_session(place.url, self._transport)
        except ModuleNotFoundError:
            self._why_none = _NO_PACKAGE
            return
        wanted = address.chassis_ids(settings.redfish_chassis)
        last = {zone: row.raw for zone, row in self._former.rows.items()}
        period_ns = round(settings.redfish_period_s * 1e9)
        self._poll = Poll(
            self._session, self._transport, place.url, period_ns=period_ns, wanted=wanted, last=last
        )
        if not settings.redfish_verify:
            self._unsaid.append(Note("redfish_unverified", _UNVERIFIED, level=Level.WARNING))

    def _new_session(self, url: str, transport: Transport) -> Session:
        is_basic = self._settings.redfish_auth == "basic"
        return Session(url, transport, self._credentials, is_basic=is_basic)

    @property
    def zones(self) -> Sequence[Zone]:
        """Zones that it has read, or that a former run has counted and it waits for."""
        return [*self._metered.zones, *(row.zone for row in self._waiting())]

    @property
    def resumed(self) -> bool:
        """True if it goes on from the former row of any of its zones."""
        return self._metered.resumed or bool(self._waiting())

    def on_activity(self, activity: Activity) -> None:
        """A meter has no use for it."""

    def read(self, now_ns: int) -> Readings:
        """Ask the BMC, and return each chassis' energy up to the time of its reading."""
        with self._busy:
            if self._must_begin_again:
                self._begin_again()
            if self._poll is not None and not self._is_closed:
                self._poll.round(now_ns, self._settings.redfish_timeout_s)
            readings = self._metered.read(now_ns)
            notes = [*self._unsaid, *readings.notes]
            self._unsaid = []
            if self._poll is not None:
                notes += self._poll.notes
                self._poll.notes = []
            rows = list({row.zone: row for row in [*self._waiting(), *readings.rows]}.values())
        return replace(readings, rows=rows, notes=notes, state=self._state(readings.state))

    def begin_again(self) -> None:
        """End all series. Zones read later begin at 0 in a new epoch."""
        self._must_begin_again = True
        if self._busy.acquire(blocking=False):
            try:
                self._begin_again()
            finally:
                self._busy.release()

    def close(self) -> None:
        """End what is in progress, and the session at the BMC. Takes at most 1.5 s."""
        was_closed, self._is_closed = self._is_closed, True
        if was_closed or self._session is None or self._transport is None:
            return
        self._transport.stop()
        if self._session.is_logging_in and self._busy.acquire(timeout=_LOGIN_END_S):
            self._busy.release()
        self._transport.abort()
        is_free = self._busy.acquire(timeout=_ROUND_END_S)
        try:
            self._session.logout(_LOGOUT_S)
        finally:
            if is_free:
                self._transport.close()  # a kept connection; in a round that thread does it
                self._busy.release()

    def interrupt(self) -> None:
        """The same, for a worker whose call hangs (worker.py)."""
        self.close()

    def _begin_again(self) -> None:
        self._must_begin_again, self._former = False, Former()
        self._metered.begin_again()
        if self._poll is not None:
            self._poll.forget_readings()

    def _find(self) -> Found:
        return unreadable(self._why_none) if self._poll is None else self._poll.found()

    def _waiting(self) -> list[ZoneEnergy]:
        """The rows of a former run, until it is known which chassis there are."""
        if self._poll is None or self._poll.has_looked:
            return []
        return [row for zone, row in self._former.rows.items() if zone.source == SOURCE]

    def _state(self, state: SourceState) -> SourceState:
        if self._poll is None or self._settings.redfish_verify:
            return state
        reason = "; ".join(filter(None, (state.reason, "the BMC's certificate isn't verified")))
        return SourceState(name=state.name, up=state.up, reason=reason)

    def _credentials(self) -> credentials.Credentials:
        return credentials.read(self._settings.redfish_credentials_file, os.environ)
