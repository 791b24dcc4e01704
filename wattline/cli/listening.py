# SPDX-License-Identifier: Apache-2.0
"""The exporter's address, from its log: the setting may leave the port to the kernel. Pure."""

_LISTENING = " listening address="


def listening_address(line: str) -> str:
    """HOST:PORT, if this line of its log tells it; else empty."""
    _before, found, rest = line.partition(_LISTENING)
    return rest.split()[0] if found else ""


def for_people(address: str) -> str:
    """HOST:PORT that this machine's browser can open: every address (":28283") becomes localhost."""
    host, _colon, port = address.rpartition(":")
    return f"localhost:{port}" if host.strip("[]:0.") == "" else address
