# SPDX-License-Identifier: Apache-2.0
"""The address of a BMC as a setting has it. Pure."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

HTTPS_PORT = 443
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


class Address(NamedTuple):
    """A BMC's web server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """As a browser shows it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}" + ("" if self.port == HTTPS_PORT else f":{self.port}")


def parse(url: str) -> Address:
    """The address in https://HOST[:PORT][/].

    Raises ValueError, whose text has nothing of `url` in it: there may be a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
    except ValueError:
        raise ValueError("there is no host and port in it") from None
    if not url.isprintable():
        raise ValueError("there are odd characters in it")
    if parts.scheme != "https":
        raise ValueError("only https keeps the password from others")
    if "@" in parts.netloc:
        raise ValueError("user and password belong in redfish.credentials-file")
    bracketed = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(bracketed):
        raise ValueError("there is no host in it")
    if parts.path not in ("", "/", "/redfish", "/redfish/", "/redfish/v1", "/redfish/v1/"):
        raise ValueError("there is a path in it")
    if parts.query or parts.fragment:
        raise ValueError("there is a query in it")
    return Address(host, port)


def check(url: str) -> None:
    """Raise ValueError for an address that can't be used.

    Not for one with a password, which the setting's error would show: `parse` refuses that later.
    """
    if url and "@" not in url:
        parse(url)


def chassis_ids(text: str) -> tuple[str, ...]:
    """The ids in a list with commas. Raises ValueError if one is empty or is there twice."""
    if not text:
        return ()
    ids = tuple(one.strip() for one in text.split(","))
    if not all(ids):
        raise ValueError("there is an empty id in it")
    if len(set(ids)) < len(ids):
        raise ValueError("there is one id twice in it")
    return ids
