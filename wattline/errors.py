# SPDX-License-Identifier: Apache-2.0
"""Errors named by what to do about them. Only the run loop catches them, or who can do without."""

from typing import ClassVar


class Gone(Exception):  # noqa: N818 named by what happened, not by being an error: it is normal
    """The process, zone or file left. Nothing is wrong; forget it."""


class Retry(Exception):  # noqa: N818
    """Busy, late or not there yet; the next tick may succeed."""


class Fatal(Exception):  # noqa: N818
    """No later tick can succeed. Ends the service with `exit_code`."""

    FAILED: ClassVar[int] = 1
    USAGE: ClassVar[int] = 2
    # The last two are not worth a restart; numbers as in sysexits.h (EX_NOPERM, EX_CONFIG).
    PERMISSION: ClassVar[int] = 77
    SETTINGS: ClassVar[int] = 78

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
