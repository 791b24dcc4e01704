# SPDX-License-Identifier: Apache-2.0
"""What the Redfish tests are made of: settings for a fake BMC, and rounds on a clock that is set by hand."""

from pathlib import Path
from typing import Any, Self

from services.power.redfish_bmc.source import Redfish
from services.power.settings import PowerSettings
from services.power.source import Former, Readings

from ..world import S
from .bmc import Bmc

PERIOD_S = 30.0


class Rounds:
    """A source that is read once a period. No time passes but between rounds."""

    def __init__(self, bmc: Bmc, clock: Any, former: Former | None = None, **changed: Any):
        self.bmc, self.clock = bmc, clock
        self.settings = settings(bmc, **changed)
        self.source = Redfish(
            self.settings, former or Former(), clock.monotonic_ns(), clock=clock.monotonic_ns
        )
        self.notes: list[Any] = []

    def round(self) -> Readings:
        """Read, then let a period pass."""
        readings = self.source.read(self.clock.monotonic_ns())
        self.notes += readings.notes
        self.clock.advance(self.settings.redfish_period_s)
        return readings

    def rounds(self, count: int) -> Readings:
        for _round in range(count):
            readings = self.round()
        return readings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object):
        self.source.close()


def settings(bmc: Bmc, **changed: Any) -> PowerSettings:
    """For a BMC, its authority and its account. The period passes by hand, time limits by the real clock."""
    account = bmc.authority.directory / "credentials"
    credentials(account, bmc.user, bmc.password)
    given = {
        "redfish_url": bmc.url,
        "redfish_ca_file": str(bmc.authority.ca_file),
        "redfish_credentials_file": str(account),
        "redfish_period_s": PERIOD_S,
        "redfish_timeout_s": 10.0,
    }
    return PowerSettings(**(given | changed))


def credentials(path: Path, user: str, password: str):
    path.touch(mode=0o600)
    path.write_text(f"{user}\n{password}\n", encoding="utf-8")


__all__ = ["PERIOD_S", "Rounds", "S", "credentials", "settings"]
