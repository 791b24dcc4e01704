# SPDX-License-Identifier: Apache-2.0
"""What the exporter can be told."""

from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning

_PORT_MAX = 65535
_PORT_UNPRIVILEGED_MIN = 1024  # man 7 ip: below, CAP_NET_BIND_SERVICE is needed


def parse_listen_address(text: str) -> tuple[str, int]:
    """(host, port); the host is empty for every address. Port 0 lets the kernel choose.

    Raises ValueError saying what is wrong.
    """
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ValueError("there is no port in it")
    if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= _PORT_MAX):
        raise ValueError(f"{port_text!r} is no port from 0 to {_PORT_MAX}")
    if host.startswith("[") and host.endswith("]") and len(host) > len("[]"):
        return host[1:-1], int(port_text)
    if any(character in host for character in "[]"):
        raise ValueError("its brackets don't match")
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    return host, int(port_text)


class ExporterSettings(CommonSettings, kw_only=True, frozen=True):
    """Joules of this node, its containers and its processes as Prometheus metrics."""

    web_listen_address: Annotated[
        str,
        meaning(
            "where to listen for scrapes: HOST:PORT, [IPV6]:PORT, or :PORT for every address of the machine; "
            "by default only this machine itself, since joules tell what a process does",
            expected="HOST:PORT, [IPV6]:PORT or :PORT",
            check=parse_listen_address,
        ),
    ] = field(default="127.0.0.1:28283", name="web.listen-address")


def capabilities(settings: ExporterSettings) -> tuple[str, ...]:
    """What listening there needs."""
    _host, port = parse_listen_address(settings.web_listen_address)
    return ("CAP_NET_BIND_SERVICE",) if 0 < port < _PORT_UNPRIVILEGED_MIN else ()
