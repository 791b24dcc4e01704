# SPDX-License-Identifier: Apache-2.0
"""Energy of the whole machine from its BMC, by Redfish. How to set it up: docs/redfish.md."""

from socket import AF_INET, AF_INET6, AF_NETLINK

from .channel import Found
from .metered import Metered
from .needs import Needs
from .redfish_bmc import SOURCE
from .settings import PowerSettings
from .source import Former, Source

__all__ = ["NEEDS", "SOURCE", "needs", "open_source", "period_ns"]

NEEDS = Needs(families=(AF_INET, AF_INET6, AF_NETLINK))
_NO_URL = "there is no BMC to ask: set redfish.url"


def period_ns(settings: PowerSettings) -> int:
    """How often the BMC is to be asked."""
    return round(settings.redfish_period_s * 1e9)


def needs(settings: PowerSettings) -> Needs:
    """Sockets to reach the BMC, and the one by which getaddrinfo sees which kinds of address there are."""
    return NEEDS if settings.redfish_url else Needs()


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The BMC's chassis. Asks nothing yet. Raises Fatal(SETTINGS) for an address that can't be used."""
    if not settings.redfish_url:
        return Metered(SOURCE, lambda: Found(why_none=_NO_URL), former, now_ns)
    from .redfish_bmc.source import Redfish  # noqa: PLC0415 TLS and HTTP would add 6 MB to every power service

    return Redfish(settings, former, now_ns)
