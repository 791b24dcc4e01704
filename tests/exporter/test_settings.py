# SPDX-License-Identifier: Apache-2.0
"""Where to listen."""

import pytest

from services.exporter.settings import ExporterSettings, parse_listen_address
from wattline.errors import Fatal
from wattline.settings import VARIABLES, load, settings_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:28283", ("127.0.0.1", 28283)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:9100", ("::1", 9100)),
        ("[::]:0", ("::", 0)),
        (":65535", ("", 65535)),
    ],
)
def test_addresses_as_prometheus_writes_them(text, expected):
    """HOST:PORT, [IPV6]:PORT and :PORT are understood."""
    assert parse_listen_address(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1", "no port in it"),
        ("", "no port in it"),
        ("127.0.0.1:", "'' is no port"),
        ("127.0.0.1:http", "'http' is no port"),
        ("127.0.0.1:65536", "'65536' is no port"),
        ("127.0.0.1:-1", "'-1' is no port"),
        ("127.0.0.1:٣", "is no port"),
        ("::1:9100", "needs brackets"),
        ("[::1:9100", "brackets don't match"),
        ("[]:9100", "brackets don't match"),
    ],
)
def test_malformed_addresses_are_refused(text, why):
    """Anything else ends the service as a wrong setting, saying what was expected, got and why."""
    with pytest.raises(Fatal, match=r"web\.listen-address, from .*: expected HOST:PORT") as caught:
        load(ExporterSettings, "exporter", [f"--web.listen-address={text}"], {})
    assert why in str(caught.value)
    assert caught.value.exit_code == Fatal.SETTINGS


def test_setting_has_its_spellings_and_a_local_default():
    """It can be set by flag and by variable, and by default only this machine can connect."""
    by_name = {setting.name: setting for setting in settings_of(ExporterSettings)}
    assert by_name["web.listen-address"].variable == "WATTLINE_WEB_LISTEN_ADDRESS"
    assert "WATTLINE_WEB_LISTEN_ADDRESS" in VARIABLES
    default, _ = load(ExporterSettings, "exporter", [], {})
    assert default.web_listen_address == "127.0.0.1:28283"
    told, warnings = load(ExporterSettings, "exporter", [], {"WATTLINE_WEB_LISTEN_ADDRESS": ":1"})
    assert (told.web_listen_address, warnings) == (":1", [])
