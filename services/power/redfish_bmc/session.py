# SPDX-License-Identifier: Apache-2.0
"""A login to a BMC by the redfish package, and requests under it.

A BMC has few sessions. One is kept over all rounds, ended at close, and made anew only when the BMC says that
it doesn't know it any more.
"""

import base64
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from .credentials import Credentials
from .errors import Failed
from .resource import Resource, decode, link, own_path
from .transport import Answer, Transport, retry_after_s

ROOT = "/redfish/v1"
_SESSIONS = "/redfish/v1/SessionService/Sessions"  # DSP0266 1.6, section 13.3.4.1
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 201, 401, 403, 404
_BUSY = (429, 503)


class Session:
    """An account's requests to one BMC. Used by one thread at a time."""

    def __init__(
        self,
        url: str,
        transport: Transport,
        credentials: Callable[[], Credentials],
        *,
        is_basic: bool,
    ) -> None:
        """`credentials`: read at each login, so that a new password is taken without a restart.

        Raises ModuleNotFoundError if the redfish package isn't installed.
        """
        # The package logs answers, in which a BMC may repeat anything.
        log = logging.getLogger("redfish")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        log.setLevel(logging.CRITICAL + 1)
        self._url = url
        self._transport = transport
        self._credentials = credentials
        self._is_basic = is_basic
        self._is_open = False
        self.is_logging_in = False
        self._client: Any = _client(url, transport)

    def get(self, path: str) -> Resource:
        """A resource; the transport knows when it was answered. Raises Failed."""
        if not self._is_open and path != ROOT:
            self._login()
        was_open = self._is_open
        answer = self._resource(path)
        if answer.status == _UNAUTHORIZED and was_open and not self._is_basic:
            # It has expired, or the BMC has started anew; else it must not stay open beside the next one.
            self._answer("delete", self._client.get_session_location())
            self._forget()
            self._login()
            answer = self._resource(path)
        if answer.status != _OK:
            raise _failed(path, answer)
        try:
            return decode(answer.read)
        except ValueError as error:
            raise Failed(f"{path}: {error}") from None

    def _resource(self, path: str) -> Answer:
        key, authorization = self._client.get_session_key(), self._client.get_authorization_key()
        headers = {"OData-Version": "4.0"}
        if key:
            headers["X-Auth-Token"] = key
        elif authorization:
            headers["Authorization"] = authorization
        return self._transport.get(path, headers)

    def logout(self, limit_s: float) -> None:
        """End the session at the BMC, if there is one, over a connection of its own. From any thread.

        A BMC that doesn't answer ends the session itself, when nobody has used it for a while.
        """
        token, location = self._client.get_session_key(), self._client.get_session_location()
        if not token or not location:
            return
        transport = self._transport.another()
        client = _client(self._url, transport)
        client.set_session_key(token)
        client.set_session_location(location)
        transport.begin(limit_s)
        with contextlib.suppress(Failed):
            _answer(client, "delete", location)
        transport.close()
        self._forget()

    def _login(self) -> None:
        known = self._credentials()
        if self._is_basic:
            plain = f"{known.user}:{known.password}".encode()
            self._client.set_authorization_key(f"Basic {base64.b64encode(plain).decode('ascii')}")
            self._is_open = True
            return
        place = self._sessions()
        self._transport.close()  # so that it can't fail, and be sent again, for an old connection's sake
        self.is_logging_in = True
        try:
            answer = self._answer("post", place, {"UserName": known.user, "Password": known.password})
        except Failed as failed:
            # A session may have been made whose answer was lost: don't hurry to make more.
            failed.is_login = True
            raise
        finally:
            self.is_logging_in = False
        token = answer.getheader("x-auth-token")
        if answer.status not in (_OK, _CREATED) or not token:
            raise _login_failed(place, answer, has_token=bool(token))
        self._client.set_session_key(token)
        self._client.set_session_location(self._location(answer))
        self._is_open = True
        if not self._client.get_session_location():
            self._forget()
            raise Failed(
                f"{place}: the login's answer has no Location, so the session couldn't be ended: set "
                "redfish.auth to basic",
                is_login=True,
            )

    def _sessions(self) -> str:
        """Where sessions are made: what the service root says, else the standard place."""
        answer = self._answer("get", ROOT)
        with contextlib.suppress(ValueError):
            if answer.status == _OK:
                return link(decode(answer.read), "Links", "Sessions") or _SESSIONS
        return _SESSIONS

    def _location(self, answer: Any) -> str:
        place = answer.getheader("location") or ""
        if not place:
            with contextlib.suppress(ValueError):
                place = str(decode(answer.read).get("@odata.id", ""))
        return own_path(place[place.find("/redfish/") :]) if "/redfish/" in place else ""

    def _forget(self) -> None:
        self._client.set_session_key(None)
        self._client.set_session_location(None)
        self._is_open = False

    def _answer(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        return _answer(self._client, method, path, body)


def _client(url: str, transport: Transport) -> Any:
    import redfish  # noqa: PLC0415 an optional package, and heavy

    # Without a password, which the package would keep, and without retries, which it can't limit.
    client = redfish.redfish_client(
        base_url=url, max_retry=0, check_connectivity=False, https_adapter=transport
    )
    # requests would add a password from ~/.netrc and go through a proxy from the environment.
    client._session.trust_env = False  # noqa: SLF001 the package has no way to say so
    return client


def _answer(client: Any, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    from redfish.rest.v1 import RetriesExhaustedError  # noqa: PLC0415 as above

    send = getattr(client, method)
    try:
        return send(path) if body is None else send(path, body=body)
    except RetriesExhaustedError as error:
        cause = error.__cause__
    if isinstance(cause, Failed):
        raise cause
    # Its text may have the request in it, and so the password.
    raise Failed(f"{path}: {type(cause).__name__}")


def _failed(path: str, answer: Any) -> Failed:
    cures = {
        _UNAUTHORIZED: "the BMC refuses user or password",
        _FORBIDDEN: "the account may not read this, or must change its password: give it the role ReadOnly",
        _NOT_FOUND: "the BMC has no such resource",
    }
    words = cures.get(answer.status, "the BMC can't answer now" if answer.status >= 500 else "unexpected")  # noqa: PLR2004
    wait_s = 0
    if answer.status in _BUSY:
        wait_s = retry_after_s(answer.getheader("retry-after") or "", answer.getheader("date") or "")
    is_login = answer.status == _UNAUTHORIZED
    return Failed(f"HTTP {answer.status}: {words}: {path}", answer.status, wait_s, is_login=is_login)


def _login_failed(place: str, answer: Any, *, has_token: bool) -> Failed:
    failed = _failed(place, answer)
    if answer.status in (_OK, _CREATED) and not has_token:
        failed.text = f"{place}: the login's answer has no X-Auth-Token: set redfish.auth to basic"
    elif answer.status in (*_BUSY, 400, 409):
        failed.text = f"HTTP {answer.status}: no login, perhaps since all sessions are in use: {place}"
    failed.is_login = answer.status not in _BUSY
    return failed
