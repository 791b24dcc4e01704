# SPDX-License-Identifier: Apache-2.0
"""Addresses of HTTPS servers. Pure."""

import re
from urllib.parse import urlsplit

_HTTPS_PORT = 443
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


def url_of(host: str, port: int) -> str:
    """https://HOST:PORT."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def split_address(url: str) -> tuple[str, int]:
    """(host, port) of https://HOST[:PORT]. Raises ValueError, saying what is wrong."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError:
        raise ValueError("there is no host and port in it") from None
    if parts.scheme != "https":
        raise ValueError("only https keeps the token from others")
    if "@" in parts.netloc:
        raise ValueError("there is a user in it")
    if not _HOST.fullmatch(host):
        raise ValueError("there is no host in it")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("there is a path in it")
    return host, port


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    return _LOOPBACK.fullmatch(host) is not None
